"""A stand-in for the package ray: tasks run in this process, one when somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """As Ray's own, of a worker that died."""


class RayTaskError(RayError):
    """As Ray's own, of code that raised."""


class AuthenticationError(RayError):
    """As Ray's own, of a missing token."""


class Ref:
    """A result to come."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call: Callable[[], Any] | None = call
        self._value: Any = None

    def settle(self) -> None:
        """Make the call, once."""
        if self._call is None:
            return
        call, self._call = self._call, None
        try:
            self._value = call()
        except RayError as error:
            self._value = error

    def cancel(self) -> None:
        """Never make the call."""
        if self._call is not None:
            self._call, self._value = None, RayError("cancelled")

    def get(self) -> Any:
        self.settle()
        if isinstance(self._value, RayError):
            raise self._value
        return self._value


class Remote:
    """What ``ray.remote`` makes of a function or a class."""

    def __init__(self, ray: Ray, target: Any) -> None:
        self._ray, self._target = ray, target

    def options(self, **options: Any) -> Remote:
        if not isinstance(self._target, type):
            self._ray.options.append(options)
        return self

    def remote(self, *arguments: Any) -> Any:
        if not isinstance(self._target, type):
            return Ref(lambda: self._target(*arguments))
        actor = self._target(*arguments)
        names = [name for name in vars(self._target) if not name.startswith("_")]
        return SimpleNamespace(**{name: _Method(getattr(actor, name)) for name in names})


class _Method:
    """A method of an actor, which runs when it is called."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> Ref:
        ref = Ref(lambda: self._method(*arguments))
        ref.settle()
        return ref


class Ray:
    """The functions of the package that metabench calls.

    Attributes:
        options: of each task that was begun.
        most: tasks that ran at the same time, at most.
        inits: what ``init`` was called with.
        resources: of the only node.
        connected: whether ``init`` was called, and ``shutdown`` was not.
    """

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, AuthenticationError=AuthenticationError
    )

    def __init__(self, **resources: float) -> None:
        self.options: list[dict[str, Any]] = []
        self.inits: list[dict[str, Any]] = []
        self.most = 0
        self.resources = resources or {"CPU": 2.0}
        self.connected = False

    def init(self, **options: Any) -> None:
        self.inits.append(options)
        self.connected = True

    def is_initialized(self) -> bool:
        return self.connected

    def shutdown(self) -> None:
        self.connected = False

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": self.resources}]

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, target: Any) -> Remote:
        return Remote(self, target)

    def wait(self, refs: Sequence[Ref], timeout: float) -> tuple[list[Ref], list[Ref]]:
        self.most = max(self.most, len(refs))
        refs[0].settle()
        return [refs[0]], list(refs[1:])

    def get(self, ref: Ref, timeout: float | None = None) -> Any:
        return ref.get()

    def cancel(self, ref: Ref) -> None:
        ref.cancel()
