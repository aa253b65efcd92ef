"""``metabench`` and ``python -m metabench``: the command line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""The exit code after Ctrl-C, and after other requests to stop."""


def main() -> None:
    """Run the command line; requests to stop end it without a traceback, and it cleans up.

    While modules are loaded, and once the exit code is known, Ctrl-C ends it at once.
    """
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    _listen(names[:1], _quit)
    from metabench.cli import app
    from metabench.running.interrupt import stopping_ends_the_program

    stopping_ends_the_program()
    _listen(names, signal.default_int_handler)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        _listen(names, _quit)


def _listen(names: list[str], handler: Callable[[int, FrameType | None], object]) -> None:
    """Answer these signals, but for those that are ignored, by ``nohup`` for example."""
    for name in names:
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), handler)


def _quit(*_: object) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
