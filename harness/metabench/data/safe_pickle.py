"""Pickles read as data: a small machine for their opcodes that imports nothing and calls nothing.

It knows numbers, strings, lists, tuples, dictionaries and numpy arrays of numbers; everything else
is refused by name. Large strings stay in the file, so memory does not grow with an array.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from metabench.data.pickled import (
    Blob,
    Constructor,
    Text,
    constructors,
    has_state,
)
from metabench.errors import DataError

if TYPE_CHECKING:
    from metabench.data.originals import Originals

MAX_OPCODES = 2**22
"""No pickle of a dataset has more; it bounds time, and memory to a few hundred megabytes."""
MAX_INLINE = 2**16
"""Longer strings (bytes) stay in the file."""
MANY_OPCODES = 2**24
"""The same, of a pickle of many arrays, such as half a million encoded images."""
MANY_INLINE = 2**8
"""Longer strings (bytes) of such a pickle stay in the file."""
MAX_INLINE_TOTAL = 2**26
"""All strings that are read into memory, or copied there, together have no more bytes."""
MAX_ARGUMENTS = 16

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_COUNTED = {
    "BINBYTES": "<I",
    "BINBYTES8": "<Q",
    "BINSTRING": "<I",
    "BINUNICODE": "<I",
    "BINUNICODE8": "<Q",
    "BYTEARRAY8": "<Q",
    "SHORT_BINBYTES": "<B",
    "SHORT_BINSTRING": "<B",
    "SHORT_BINUNICODE": "<B",
}
"""How the length before a string is written."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME", "READONLY_BUFFER"}


def read_pickle(originals: Originals, name: str, *, many: bool = False) -> Any:
    """Read a pickle without running anything that is in it.

    Args:
        originals: where it lies; large strings are read from there later, while it is open.
        name: which file.
        many: whether it is a list of many arrays, such as encoded images; then small strings stay
            in the file too, and memory grows by about a kilobyte per array.

    Returns:
        Numbers, ``str``, ``bytes``, lists, tuples and dictionaries of them, and
        :class:`~metabench.data.pickled.PickledArray`. Strings of Python 2 come as ``str``.

    Raises:
        DataError: it is damaged, or asks for anything else.
    """
    what = f"{name} in {originals.path}"
    source = originals.open(name)
    try:
        with originals.explained(name), warnings.catch_warnings():
            # Python warns of escapes it does not know in the strings of protocol 0.
            warnings.simplefilter("ignore", DeprecationWarning)
            limits = (MANY_OPCODES, MANY_INLINE) if many else (MAX_OPCODES, MAX_INLINE)
            return _Machine(source, originals.scratch, *limits).run()
    except _RefusedError as error:
        raise DataError(
            f"{what} is a pickle that asks for {error}; only numbers, strings, lists, "
            "dictionaries and arrays are read.",
            hint="Nothing in it was executed. Download the file from its official address.",
        ) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, EOFError, struct.error) as error:
        raise DataError(
            f"{what} is not a valid pickle of a dataset: {' '.join(str(error)[:200].split())}.",
            hint="Download it again.",
        ) from error


class _RefusedError(Exception):
    """What a pickle asked for, in words."""


class _Source:
    """The file, of which nobody takes more into memory than the bounds allow."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left = MAX_INLINE_TOTAL
        self.size = file.seek(0, 2)
        file.seek(0)

    def read(self, n: int) -> bytes:
        if not 0 <= n <= MAX_INLINE:
            raise ValueError(f"a value claims {n:,} bytes")
        data = self.file.read(n)
        self.charge(len(data))
        if len(data) < n:
            raise EOFError("it ends early")
        return data

    def readline(self) -> bytes:
        data = self.file.readline(MAX_INLINE)
        self.charge(len(data))
        return data

    def skip(self, length: int) -> int:
        """Go past ``length`` bytes; returns where they begin."""
        start = self.file.tell()
        if length > self.size - start:
            raise EOFError("it ends early")
        self.file.seek(length, 1)
        return start

    def charge(self, n: int) -> None:
        """Count ``n`` more bytes in memory."""
        self.left -= n
        if self.left < 0:
            raise ValueError("it holds too many strings")


class _Machine:
    """A stack, its marks and a memo, as the pickle format has them."""

    def __init__(
        self,
        file: BinaryIO,
        scratch: Callable[[], BinaryIO],
        max_opcodes: int,
        max_inline: int,
    ) -> None:
        self.source = _Source(file)
        self.max_opcodes = max_opcodes
        self.max_inline = max_inline
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.constructors = constructors(scratch)

    def run(self) -> Any:
        for _ in range(self.max_opcodes):
            code = self.source.read(1).decode("latin-1")
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise ValueError(f"{code!r} is not an opcode")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode)
        raise ValueError("it has too many opcodes")

    def _step(self, opcode: pickletools.OpcodeInfo) -> None:
        name = opcode.name
        if name in _COUNTED:
            self.stack.append(self._string(name))
            return
        argument = opcode.arg.reader(cast(IO[bytes], self.source)) if opcode.arg else None
        if name in _NUMBERS or name in ("STRING", "UNICODE"):
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._popped(len(self.stack) - _TUPLES[name])))
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in _IGNORED:
            raise _RefusedError(f"the opcode {name}")

    def _string(self, name: str) -> str | bytes | Blob:
        form = _COUNTED[name]
        (length,) = struct.unpack(form, self.source.read(struct.calcsize(form)))
        if length > self.max_inline:
            kind = Text if "UNICODE" in name else Blob
            return kind(self.source.file, self.source.skip(length), length)
        data = self.source.read(length)
        if "UNICODE" in name:
            return data.decode("utf-8")
        return data.decode("latin-1") if "STRING" in name else data

    def _popped(self, start: int) -> list[Any]:
        """All from ``start`` to the top of the stack."""
        if start < (self.marks[-1] if self.marks else 0):
            raise IndexError("it takes more values than there are")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _since_mark(self) -> list[Any]:
        return self._popped(self.marks.pop())

    def pop(self, _: Any) -> None:
        # As in pickle, a mark that is on top is an item of its own.
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("it appends to a value that is not a list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("it sets items of a value that is not a dictionary")
        target.update(_pairs(items))

    def remember(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("it names a function by a value that is not a name")
        wanted = f"{module}.{name}"
        if wanted not in self.constructors:
            raise _RefusedError(ascii(wanted[:200])[1:-1])
        self.stack.append(self.constructors[wanted])

    def reduce(self, _: Any) -> None:
        function, arguments = self._popped(len(self.stack) - 2)
        if not isinstance(function, Constructor):
            raise TypeError("it calls a value that is not a function")
        self._check_arguments(arguments)
        self.stack.append(function.make(*arguments))

    def build(self, _: Any) -> None:
        target, state = self._popped(len(self.stack) - 2)
        if not has_state(target):
            raise TypeError("it sets the state of a value that has no state")
        self._check_arguments(state)
        target.set_state(*state)
        self.stack.append(target)

    def _check_arguments(self, arguments: Any) -> None:
        if not isinstance(arguments, tuple) or len(arguments) > MAX_ARGUMENTS:
            raise TypeError("it calls a function with a value that is not a list of arguments")
        # The same string may be recoded again and again, and each time anew.
        self.source.charge(sum(len(a) for a in arguments if isinstance(a, str | bytes)))


def _pairs(items: list[Any]) -> dict[Any, Any]:
    # Hashing nested tuples takes time exponential in their depth; no dataset has such keys.
    if not all(isinstance(key, str | bytes | int | None) for key in items[::2]):
        raise TypeError("a dictionary has a key that is not a string or a number")
    return dict(zip(items[::2], items[1::2], strict=True))


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": _Machine.pop,
    "POP_MARK": lambda m, _: m._since_mark().clear(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "LIST": lambda m, _: m.stack.append(m._since_mark()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m._since_mark())),
    "DICT": lambda m, _: m.stack.append(_pairs(m._since_mark())),
    "APPEND": lambda m, _: m.extend(m._popped(len(m.stack) - 1)),
    "APPENDS": lambda m, _: m.extend(m._since_mark()),
    "SETITEM": lambda m, _: m.set_items(m._popped(len(m.stack) - 2)),
    "SETITEMS": lambda m, _: m.set_items(m._since_mark()),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "GET": lambda m, place: m.stack.append(m.memo[place]),
    "BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "GLOBAL": lambda m, names: m.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.find(*m._popped(len(m.stack) - 2)),
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
