"""Imports torchmeta 1.8.0 on a current torch, and supplies what it lacks there.

It lacks two functions that torchvision has dropped, and ``SubsetTask`` lacks the plural
``__getitems__`` that torch's loaders now call. torchvision itself needs two compiled operators when
its build does not fit torch's (PyPI's torchvision beside a CPU-only torch); torchmeta uses neither,
so they are declared without a body.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from metabench import DataError, UsageError, unknown

INSTALL = 'pip install "metabench[torchmeta]" && pip install --no-deps torchmeta==1.8.0'

_DRIVE = ("_get_confirm_token", "_save_response_content")
_OPERATORS = ("nms", "qnms")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bridge:
    """torchmeta, ready for use.

    Attributes:
        module: the package.
        version: its version.
        supplied: names of what it or torchvision missed.
    """

    module: ModuleType
    version: str
    supplied: tuple[str, ...]


@cache
def torchmeta_bridge() -> Bridge:
    """Import torchmeta, with what it misses.

    Raises:
        UsageError: torchmeta is missing, or is there and cannot be imported.
    """
    try:
        with _dropped_functions() as supplied:
            module = import_module("torchmeta")
        supplied += _plural_getter()
    except ModuleNotFoundError as error:
        if error.name == "torchmeta":
            raise UsageError("torchmeta is not installed.", hint=INSTALL) from error
        raise _broken(error) from error
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise _broken(error) from error
    bridge = Bridge(module, str(getattr(module, "__version__", "?")), tuple(supplied))
    if supplied:
        _log.info("torchmeta %s: supplied %s.", bridge.version, ", ".join(supplied))
    return bridge


def state() -> str:
    """What ``metabench doctor`` says of torchmeta: missing, works, or broken and why."""
    try:
        bridge = torchmeta_bridge()
    except UsageError as error:
        if error.hint == INSTALL:
            return f"missing; {INSTALL}"
        return f"broken: {error.message}"
    supplied = f"; supplied {', '.join(bridge.supplied)}" if bridge.supplied else ""
    return f"works with torchmeta {bridge.version}{supplied}"


def named_class(target: str, home: str) -> Any:
    """Find a class by its name in a module of torchmeta, or by ``module:Class``.

    A suite file is not code, so a module that it names is imported only where it is torchmeta's
    or of an installed plugin.

    Raises:
        UsageError: torchmeta is not usable, there is no such class, or it is in another module.
    """
    module, _, name = target.rpartition(":")
    if module and (top := module.partition(".")[0]) not in _packages_of_plugins():
        raise UsageError(
            f"{target!r} is neither torchmeta's nor of an installed plugin, so it is not imported.",
            hint=f"Declare an entry point of the group metabench in the package of {top}: see "
            "docs/how-to/use-torchmeta.md.",
        )
    bridge = torchmeta_bridge()
    try:
        found = getattr(import_module(module or f"{bridge.module.__name__}.{home}"), name)
    except (ImportError, AttributeError) as error:
        if module:
            raise UsageError(f"Cannot import {target!r}: {error}.") from error
        known = import_module(f"torchmeta.{home}").__all__
        raise unknown(f"class of torchmeta.{home}", name, known) from error
    if not isinstance(found, type):
        raise UsageError(f"{target!r} is not a class.")
    return found


def _packages_of_plugins() -> set[str]:
    """Top packages whose code a user has installed for metabench, and torchmeta itself."""
    points = entry_points(group="metabench")
    return {"torchmeta", *(point.value.partition(":")[0].partition(".")[0] for point in points)}


def split_folder(name: str) -> Path:
    """The folder of torchmeta's own split files of a dataset; torchmeta is not imported.

    Raises:
        UsageError: torchmeta is missing, or brings no such split.
    """
    spec = find_spec("torchmeta")
    if spec is None or spec.origin is None:
        raise UsageError("torchmeta is not installed.", hint=INSTALL)
    assets = Path(spec.origin).parent / "datasets" / "assets"
    known = [file.parent.relative_to(assets).as_posix() for file in assets.rglob("train.json")]
    if name not in known:
        raise unknown("split of torchmeta", name, known)
    return assets / name


def _broken(error: Exception) -> UsageError:
    reason = str(error).partition("\n")[0].rstrip(".")
    return UsageError(
        f"torchmeta is installed but cannot be imported: {reason}.",
        hint="See docs/how-to/use-torchmeta.md for versions that work together.",
    )


@contextmanager
def _dropped_functions() -> Iterator[list[str]]:
    """While torchmeta is imported, give torchvision back what torchmeta asks it for."""
    supplied: list[str] = []
    try:
        supplied += _import_torchvision()
        functions = import_module("torchvision.datasets.utils")
    except ModuleNotFoundError:
        # Whether torchmeta is there at all is the first thing to tell.
        yield supplied
        return
    dropped = [name for name in _DRIVE if not hasattr(functions, name)]
    for name in dropped:
        setattr(functions, name, _refuse_drive)
    try:
        yield supplied
    finally:
        for name in dropped:
            delattr(functions, name)
    supplied += [f"torchvision.datasets.utils.{name}" for name in dropped]


def _import_torchvision() -> list[str]:
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if not re.search(r"operator torchvision::\w+ does not exist", str(error)):
            raise
    else:
        return []
    import torch

    missing = [name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare(missing)
    import_module("torchvision")
    return [f"torchvision::{name}" for name in missing]


@cache
def _library() -> Any:
    """Declarations live as long as this object does."""
    import torch

    make: Any = torch.library.Library
    return make("torchvision", "FRAGMENT")


def _declare(operators: Sequence[str]) -> None:
    for name in operators:
        _library().define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _refuse_drive(*_: object, **__: object) -> NoReturn:
    """Stand for downloads that would save Google Drive's warning page as the archive."""
    raise DataError(
        "torchmeta 1.8.0 cannot download from Google Drive any more.",
        hint="Put the files where torchmeta looks for them, or use metabench's own dataset.",
    )


def _plural_getter() -> list[str]:
    """Make ``SubsetTask`` fetch several examples by its own rule, not by its base's."""
    task = import_module("torchmeta.utils.data.task").SubsetTask
    if not hasattr(task, "__getitems__") or task.__getitems__ is _examples:
        return []
    task.__getitems__ = _examples
    return ["torchmeta.utils.data.SubsetTask.__getitems__"]


def _examples(task: Any, indices: Sequence[int]) -> list[Any]:
    return [task[i] for i in indices]
