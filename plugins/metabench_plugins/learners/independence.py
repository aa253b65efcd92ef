"""On what the meta-training of the built-in learners does not depend.

Hardly any looks at the test of the protocol while it trains: the shots of a loss are those of its
batch. T-NAS and its kin do: they adapt to training tasks as at meta-test, to choose architectures.
"""

from __future__ import annotations

from metabench import TEST_FACTS

_OF_REPTILE = ("test_steps", "test_batch")
_OF_METANAS = (*_OF_REPTILE, "test_steps_arch", "threshold_at_test")
_OF_SEARCHING_MAML = ("threshold_at_test", "arch_at_test")
_OF_FINETUNED = ("test_steps", "test_lr")

_PARAMETERS = {
    "maml": _OF_SEARCHING_MAML,
    "metanas-maml": _OF_SEARCHING_MAML,
    "random-search-maml": _OF_SEARCHING_MAML,
    "reptile": _OF_METANAS,
    "metanas": _OF_METANAS,
    "random-search": _OF_METANAS,
    "metanas-retrain": _OF_REPTILE,
    "auto-meta": _OF_REPTILE,
    "baseline": _OF_FINETUNED,
    "baseline++": _OF_FINETUNED,
    "metaoptnet": ("test_iterations",),
}
"""Parameters of the test alone, those on a searched network included."""

_ADAPTS_AS_AT_TEST = frozenset({"tnas", "tnas++", "auto-maml"})
_ADAPTATION = frozenset({"protocol.steps_at_test", "protocol.curve_steps"})


def concerning_test_alone(learner: str) -> tuple[str, ...]:
    """The parameters of a learner and the facts of the protocol that its training ignores."""
    used = _ADAPTATION if learner in _ADAPTS_AS_AT_TEST else ()
    facts = tuple(fact for fact in TEST_FACTS if fact not in used)
    return (*facts, *_PARAMETERS.get(learner, ()))
