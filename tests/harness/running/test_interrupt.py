"""Signals ask a run to stop; only a second Ctrl-C stops it at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from metabench.running.interrupt import StopRequest, held_back, let_in


@pytest.fixture(autouse=True)
def _sighup_is_heard() -> Iterator[None]:
    """Tests may be run by ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_second_signal_does_not_cut_a_save_in_half(second: signal.Signals) -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(second)
        assert stop()


def test_a_second_ctrl_c_stops_at_once_but_not_a_worker() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with StopRequest(patient=True) as worker:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert worker()


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_more_signals_are_ignored_where_stopping_ends_the_program() -> None:
    def code(*lines: str) -> int:
        text = "\n".join(
            (
                "import signal",
                "from metabench.running.interrupt import StopRequest, stopping_ends_the_program",
                *lines,
                "signal.raise_signal(signal.SIGTERM)",
            )
        )
        return subprocess.run([sys.executable, "-c", text], check=False).returncode

    asked = "with StopRequest(): signal.raise_signal(signal.SIGTERM)"
    assert code("stopping_ends_the_program()", asked) == 0
    assert code("stopping_ends_the_program()", "with StopRequest(): pass") == -signal.SIGTERM
    assert code(asked) == -signal.SIGTERM


def test_signals_are_held_back_while_a_process_starts_and_for_it() -> None:
    """It imports for seconds before it can listen, and would die of a Ctrl-C with a traceback."""
    shows = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with StopRequest(patient=True) as stop:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            assert not stop()
            child = subprocess.run([sys.executable, "-c", shows], capture_output=True, check=True)
            assert child.stdout.strip() == b"True"
        assert stop()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        let_in()
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
