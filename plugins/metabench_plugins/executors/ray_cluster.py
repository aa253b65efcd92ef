"""A connection to a Ray cluster, or to a Ray that is started on this machine for one command."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from metabench import UsageError

OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory of an own Ray; only jobs, events and outcomes pass through it."""
LOOK = (
    "`ray status` says whether it runs, and whether it wants the token that RAY_AUTH_TOKEN holds. "
    "Without RAY_ADDRESS, Ray is started here."
)
"""What to do about a cluster that cannot be reached."""
ANSWER_SECONDS = 5.0
"""A cluster must answer within so many seconds; Ray itself asks for minutes."""


class Cluster(NamedTuple):
    """A connection.

    Attributes:
        ray: the package, connected.
        own: whether Ray was started for this command.
    """

    ray: Any
    own: bool


@contextmanager
def connected(*, cpus: int) -> Iterator[Cluster]:
    """A connection to the cluster that ``RAY_ADDRESS`` names, or to an own Ray.

    An own Ray ends with the block. It is private, unless the program has imported ray before: it
    listens on the loopback address, and asks for a token that only its own processes know. A Ray to
    which this process is already connected is used, and stays.

    Args:
        cpus: CPUs that an own Ray lends at a time.

    Raises:
        UsageError: when ray is not installed, or Ray can be neither reached nor started.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    own = address in ("", "local")
    with _environment(_private() if own else {}):
        ray = import_ray()
        if ray.is_initialized():
            yield Cluster(ray, own=False)
            return
        if own:
            _start(ray, cpus=cpus)
        else:
            _connect(ray, address)
        try:
            yield Cluster(ray, own)
        finally:
            ray.shutdown()


def require_ray() -> None:
    """Refuse a machine without the package ray; it is not imported, see :func:`connected`.

    Raises:
        UsageError: with the command that installs it.
    """
    if sys.modules.get("ray") is None and find_spec("ray") is None:
        raise UsageError(
            "The executor ray needs the package ray.", hint='pip install "metabench[ray]"'
        )


def import_ray() -> Any:
    """The package ray.

    Raises:
        UsageError: when it is not installed.
    """
    require_ray()
    import ray

    return ray


def _start(ray: Any, *, cpus: int) -> None:
    try:
        with _handlers_kept():
            ray.init(
                address="local",  # never a Ray that happens to run on this machine
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
    except Exception as error:  # Ray raises errors of many kinds
        raise UsageError(
            f"Ray cannot be started on this machine: {_reason(error)}",
            hint="`--executor local --jobs N` makes several runs at a time without Ray.",
        ) from error


def _connect(ray: Any, address: str) -> None:
    where = f"the Ray cluster at {address}, which RAY_ADDRESS names"
    _require_answer(address, where)
    try:
        with _handlers_kept():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ray.exceptions.AuthenticationError as error:
        raise UsageError(
            f"A token is missing or wrong for {where}.",
            hint="Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.",
        ) from error
    except Exception as error:  # Ray raises errors of many kinds
        raise UsageError(f"Cannot connect to {where}: {_reason(error)}", hint=LOOK) from error


def _require_answer(address: str, where: str) -> None:
    """Refuse an address at which nothing listens, or that is of no use here."""
    if "://" in address:
        raise UsageError(
            f"RAY_ADDRESS is {address}, but runs are begun on a machine of the cluster.",
            hint="Give the command there, with RAY_ADDRESS=HOST:PORT or RAY_ADDRESS=auto.",
        )
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal()):
        return  # a word such as auto, which Ray understands or refuses by itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"Cannot connect to {where}: {error}", hint=LOOK) from error


def _reason(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return first or type(error).__name__


@cache
def _private() -> dict[str, str]:
    """Environment variables that make an own Ray private; Ray reads them once, at its import.

    They are the same for each own Ray of a process, and none where the program has imported Ray
    before: Ray's own defaults hold then.
    """
    if "ray" in sys.modules:
        return {}
    return {
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token"),
        # Not in the file that Ray would write: the home folder may be read-only.
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Where there are no clusters, all processes of Ray listen on the loopback address alone.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables during a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep the handlers of signals, which ask runs to save; Ray's own handler ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
