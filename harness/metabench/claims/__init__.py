"""What a paper says in words, as data, and whether the records of a folder bear it out.

``schema`` holds the sentences, ``choosing`` finds the runs that they speak of, ``comparing`` makes
the differences, ``judging`` gives the verdicts, ``evaluation`` puts them together and ``words``
says what decided them.
"""

from metabench.claims.evaluation import Evaluation, evaluate
from metabench.claims.judging import PairResult, Verdict
from metabench.claims.schema import Claim, ClaimFile, Party, load_claims

__all__ = [
    "Claim",
    "ClaimFile",
    "Evaluation",
    "PairResult",
    "Party",
    "Verdict",
    "evaluate",
    "load_claims",
]
