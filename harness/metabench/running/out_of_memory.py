"""Running out of memory, as a sentence that says what would need less."""

from __future__ import annotations

import torch

from metabench.errors import MetabenchError
from metabench.planning.plan import PlannedRun
from metabench.running.provenance import peak_memory_mib

_SAID = ("not enough memory", "can't allocate memory", "out of memory")
"""What PyTorch says, in different places, where an allocation fails."""


class OutOfMemoryError(MetabenchError):
    """A run needs more memory than there is."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error of Python or PyTorch says that an allocation failed, also in a plugin."""
    if isinstance(error, MetabenchError):  # a plugin's error becomes a sentence about the plugin
        return is_out_of_memory(error.__cause__)
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _SAID)


def out_of_memory(planned: PlannedRun, device: torch.device) -> OutOfMemoryError:
    """The sentence for a run whose allocation failed."""
    peak = peak_memory_mib(device)
    until = "" if peak is None else f" after a peak of {peak / 1024:.1f} GiB"
    n = planned.spec.training.meta_batch
    of = "the GPU" if device.type == "cuda" else "the machine"
    return OutOfMemoryError(
        f"{planned.label} ran out of memory of {of}{until}, at {n:,} tasks per meta-step.",
        hint="Take fewer tasks per meta-step (--set budget.meta_batch=N), first-order gradients "
        "where the learner has them (--set learner.order=first), or a smaller network. Saved "
        "steps are kept.",
    )
