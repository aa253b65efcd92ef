"""From ``--device`` to a device that exists."""

from __future__ import annotations

from metabench.errors import UsageError

_HINT = "Known: auto, cpu, cuda, cuda:N."


def pick_device(name: str) -> str:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: when there is no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"--device {name!r} is not a device.", hint="auto, cpu, cuda or cuda:N."
        ) from error
    if device.type == "cuda" and not (
        torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    ):
        raise UsageError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices.",
            hint="Use --device auto or cpu.",
        )
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name!r} is not supported.", hint=_HINT)
    return str(device)
