"""The names of the built-in learners as papers print them."""

from __future__ import annotations

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "support-mean": "Support mean",
    "nearest-neighbor": "Nearest neighbor",
    "nearest-centroid": "Nearest centroid",
    "gaussian-process": "Gaussian process",
    "maml": "MAML",
    "reptile": "Reptile",
    "anil": "ANIL",
    "nil": "NIL",
    "meta-sgd": "Meta-SGD",
    "maml++": "MAML++",
    "protonet": "ProtoNet",
    "matching-net": "MatchingNet",
    "baseline": "Baseline",
    "baseline++": "Baseline++",
    "leo": "LEO",
    "tadam": "TADAM",
    "r2d2": "R2-D2",
    "metaoptnet": "MetaOptNet-SVM",
    "metaoptnet-ridge": "MetaOptNet-RR",
    "mtnet": "MT-Net",
    "mumomaml": "MUMOMAML",
    "one-shot": "One-shot",
    "bmaml": "BMAML",
    "hsml": "HSML",
    "hsml-notree": "HSML (no tree)",
    "mnas": "M-NAS",
    "mnas-shared": "M-NAS-Shared",
    "mnas-shared-m": "M-NAS-Shared-M",
    "mnas-shared-nm": "M-NAS-Shared-NM",
    "mnas-nm": "M-NAS-NM",
    "mnas-low-rank": "M-NAS (low rank)",
    "metanas": "MetaNAS",
    "random-search": "Random search",
    "random-search-maml": "Random search (MAML)",
    "metanas-maml": "MetaNAS (MAML)",
    "tnas": "T-NAS",
    "tnas++": "T-NAS++",
    "auto-maml": "Auto-MAML",
    "metanas-retrain": "MetaNAS (retrained)",
    "auto-meta": "Auto-Meta",
}
"""By name on the command line."""
