"""What a run costs whose steps take too long to measure: from its costs on smaller images.

A step takes some time for each pixel and some for each operator, whatever the number of pixels. So
its time lies on a line over the number of pixels, which two sizes give. Of small networks nearly
all is for operators: by the number of pixels alone, M-NAS at its smallest was six times too slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metabench.planning.plan import PlannedRun
from metabench.results.costs import Costs
from metabench.running.probe import LOOK_ALIKE

SIZES = (28, 42)
"""Heights and widths of the images on which steps are measured instead. Four poolings leave a map
of both."""
ESTIMATED = (
    "Some times are estimated from smaller images, along a line over their number of pixels: a "
    "step takes too long to measure."
)
"""Said of the price of what :func:`estimated` gives."""


def size_of(planned: PlannedRun) -> int | None:
    """Height and width of a run's images; None where a source has no ``size``, or they differ."""
    size, *others = {choice.params.get("size") for choice in planned.spec.sources}
    return size if isinstance(size, int) and not others else None


def smaller(planned: PlannedRun) -> dict[int, PlannedRun]:
    """The run on generated images of :data:`SIZES`, of those that are smaller than its own."""
    own = size_of(planned) or 0
    return {size: _at(planned, size) for size in SIZES if size < own}


def _at(planned: PlannedRun, size: int) -> PlannedRun:
    sources = tuple(
        choice.model_copy(update={"params": {**choice.params, "size": size}})
        for choice in planned.spec.sources
    )
    own = {"sources": sources, "data": LOOK_ALIKE, "data_fingerprint": ""}
    return replace(planned, spec=planned.spec.model_copy(update=own))


def estimated(found: Mapping[int, Costs], size: int) -> Costs:
    """What a run costs, from its costs on smaller images; its memory is not known.

    Args:
        found: costs by height and width of the images, of one or two sizes. With one, time is as
            the number of pixels.
        size: height and width of its own.
    """
    least, most = min(found), max(found)
    low, high = found[least], found[most]
    before = {stretch.start: stretch.step_seconds for stretch in low.stretches}

    def at_size(seconds: float, fewer: float | None) -> float:
        by_pixel = seconds / most**2
        if least < most and fewer:
            by_pixel = max(0.0, seconds - fewer) / (most**2 - least**2)
        return seconds + by_pixel * (size**2 - most**2)

    stretches = tuple(
        one.model_copy(update={"step_seconds": at_size(one.step_seconds, before.get(one.start))})
        for one in high.stretches
    )
    return high.model_copy(
        update={
            "stretches": stretches,
            "val_seconds": at_size(high.val_seconds, low.val_seconds),
            "test_seconds": at_size(high.test_seconds, low.test_seconds),
            "memory_mib": None,
            "notes": (*high.notes, ESTIMATED),
        }
    )
