"""What a paper says in words, as data, and whether the records of a folder support it.

``schema`` has the sentences, ``runs`` finds the runs that they are about, ``pairs`` and
``measures`` make the numbers, ``intervals`` gives the verdicts, ``scope`` says what they hold for,
``evaluate`` puts these together and ``sentences`` says what decided a verdict.
"""

from metabench.papers.claims.evaluate import ClaimResult, evaluate
from metabench.papers.claims.intervals import PairResult
from metabench.papers.claims.schema import Claim, ClaimFile, Party, load_claims
from metabench.papers.claims.scope import Scope, Verdict

__all__ = [
    "Claim",
    "ClaimFile",
    "ClaimResult",
    "PairResult",
    "Party",
    "Scope",
    "Verdict",
    "evaluate",
    "load_claims",
]
