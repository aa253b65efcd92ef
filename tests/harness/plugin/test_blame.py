"""What a plugin raises becomes one sentence, and a Ctrl-C stays one."""

from __future__ import annotations

from typing import NoReturn

import pytest

from metabench.errors import PluginError, UsageError
from metabench.plugin.blame import guarded


class OwnError(BaseException):
    """Of a foreign program."""


def raising(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OwnError("down"), "It failed: OwnError: down (test_blame.py, line {})."),
        (SystemExit(), "It failed: SystemExit: (test_blame.py, line {})."),
        (ValueError("no names."), "It failed: ValueError: no names (test_blame.py, line {})."),
    ],
)
def test_what_a_plugin_raises_is_one_sentence(error: BaseException, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        guarded("It failed", lambda: raising(error), hint="Look.")
    line = raising.__code__.co_firstlineno + 1
    assert (caught.value.message, caught.value.hint) == (said.format(line), "Look.")


def test_errors_for_the_user_stay_what_they_are_but_not_while_a_plugin_is_read() -> None:
    error = UsageError("No such thing.", hint="Choose another.")
    with pytest.raises(UsageError) as caught:
        guarded("It failed", lambda: raising(error))
    assert caught.value is error
    with pytest.raises(PluginError, match="It failed: UsageError: No such thing"):
        guarded("It failed", lambda: raising(error), passes=PluginError)


def test_a_ctrl_c_is_no_fault_of_a_plugin() -> None:
    with pytest.raises(KeyboardInterrupt):
        guarded("It failed", lambda: raising(KeyboardInterrupt()))
