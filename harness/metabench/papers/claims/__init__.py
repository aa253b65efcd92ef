"""What a paper says in words, as data, and whether the records of a folder bear it out.

``schema`` holds the sentences, ``choosing`` finds the runs that they speak of, ``comparing`` makes
the differences, ``judging`` gives the verdicts, ``scope`` says what they speak of, ``evaluation``
puts them together and ``words`` says what decided them.
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
