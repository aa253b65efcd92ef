"""``metabench`` and ``python -m metabench``: the command line."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while modules are loaded."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # by nohup, for example
    if not ignored:
        signal.signal(signal.SIGINT, _quit)
    from metabench.cli import app
    from metabench.running.interrupt import stopping_ends_the_program

    stopping_ends_the_program()
    if not ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app()
    except KeyboardInterrupt:  # a second one, while the first is answered
        sys.exit(INTERRUPTED)
    finally:
        if not ignored:
            signal.signal(signal.SIGINT, _quit)


def _quit(*_: object) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
