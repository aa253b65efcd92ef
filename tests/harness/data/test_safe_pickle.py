"""Pickles of datasets are read, and nothing else that a pickle may hold."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metabench.data import Originals
from metabench.data.pickled import PickledArray
from metabench.data.safe_pickle import read_pickle
from metabench.errors import DataError


def read(folder: Path, content: bytes) -> Any:
    (folder / "file.pkl").write_bytes(content)
    with Originals(folder) as originals:
        return plain(read_pickle(originals, "file.pkl"))


def plain(value: Any) -> Any:
    """The same with arrays in memory, since the file is closed afterwards."""
    if isinstance(value, PickledArray):
        return value.rows(0, len(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_caches_hold_is_read_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert PIXELS.nbytes > 2**16, "the array would not stay in the file"
    labels = np.arange(7, dtype=">i4")
    value = {
        "image_data": PIXELS,
        b"class_dict": {"n1": [0, 1, 2], "n2": [np.int64(3), np.uint8(4)], "n3": labels},
        "rest": (1, -7, 10**20, 2.5, None, True, "é", b"", b"ab", (), (1, 2, 3, 4)),
    }
    found = read(tmp_path, pickle.dumps(value, protocol))
    np.testing.assert_array_equal(found["image_data"], PIXELS)
    np.testing.assert_array_equal(found[b"class_dict"].pop("n3"), labels)
    assert found[b"class_dict"] == {"n1": [0, 1, 2], "n2": [3, 4]}
    assert found["rest"] == value["rest"]


@pytest.mark.parametrize("protocol", [0, 1])
def test_small_values_are_read_from_protocols_of_text(tmp_path: Path, protocol: int) -> None:
    value = {"num": 3, "names": ["a", "b\n'\\"], "x": [1.5, True, None, 2**70]}
    assert read(tmp_path, pickle.dumps(value, protocol)) == value


def test_an_unknown_escape_gives_no_warning(tmp_path: Path) -> None:
    assert read(tmp_path, b"S'a\\qb'\n.") == "a\\qb"


def python2_string(data: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(data)) + data


def test_an_array_of_python_2_is_read(tmp_path: Path) -> None:
    """As cPickle of Python 2 wrote the batches of CIFAR: bytes as BINSTRING."""
    content = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b"
        b"\x87R(K\x01(K(K0K0K\x03tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + python2_string(PIXELS.tobytes()) + b"tb"
        b"U\x06labels](K\x01K\x02eu."
    )
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found["data"], PIXELS)
    assert found["labels"] == [1, 2]


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def touching(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that would create ``marker`` if they were run, and what they ask for."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    path = str(marker).encode()
    return {
        "os.system": (pickle.dumps(Calls(os.system, command)), "posix.system"),
        "eval": (pickle.dumps(Calls(eval, code), 2), "__builtin__.eval"),
        "exec by name": (pickle.dumps(Calls(exec, code), 4), "builtins.exec"),
        "nested": (
            pickle.dumps({"data": [1, {"deep": (Calls(getattr, Calls(__import__, "os"), "x"),)}]}),
            "builtins.getattr",
        ),
        "INST": (b"(S'touch " + path + b"'\nios\nsystem\n.", "the opcode INST"),
        "OBJ": (b"(cos\nsystem\nS'touch " + path + b"'\no.", "os.system"),
        "NEWOBJ": (b"cnumpy\nndarray\n)\x81.", "the opcode NEWOBJ"),
        "EXT": (b"\x82\x01.", "the opcode EXT1"),
        "PERSID": (b"Psomething\n.", "the opcode PERSID"),
        "numpy.load": (b"cnumpy\nload\n(S'" + path + b"'\ntR.", "numpy.load"),
        "a dotted name": (
            b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
            "numpy.ndarray.tofile",
        ),
    }


@pytest.mark.parametrize("kind", list(touching(Path("x"))))
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "was-run"
    content, wanted = touching(marker)[kind]
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert f"file.pkl in {tmp_path} is a pickle that asks for {wanted};" in caught.value.message
    assert caught.value.exit_code == 3
    assert not marker.exists()


def test_the_state_of_foreign_things_cannot_be_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sets the state of a value that has no state"):
        read(tmp_path, b"}}b.")
    with pytest.raises(DataError, match="calls a value that is not a function"):
        read(tmp_path, b"S'os.system'\n(S'x'\ntR.")


def deep_key() -> bytes:
    """A dictionary whose key takes 2^200 steps to hash."""
    return b"}K\x01" + b"2\x86" * 200 + b"K\x01s."


def many_copies() -> bytes:
    """A string of 60 kB, recoded a million times."""
    text = b"\x8c\x06_codecs\x8c\x06encode\x93q\x00X" + struct.pack("<I", 60_000) + b"a" * 60_000
    call = b"h\x00h\x01\x8c\x06latin1\x86R"
    return b"\x80\x04" + text + b"q\x01" + call * 50_000 + b"."


BOMBS = {
    "length beyond the file": b"\x8e" + struct.pack("<Q", 2**60) + b"x.",
    "memo beyond memory": b"Nr\xff\xff\xff\xff0.",
    "key that never hashes": deep_key(),
    "strings without end": many_copies(),
    "no end": b"N" * 2**12,
    "nothing": b"",
    "too many digits": b"L" + b"9" * 60_000 + b"L\n.",
    "long line": b"S'" + b"a" * 2**17 + b"'\n.",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_takes_neither_time_nor_memory(tmp_path: Path, kind: str) -> None:
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(DataError, match=r"file\.pkl"):
            read(tmp_path, BOMBS[kind])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**28
    assert time.process_time() - start < 10


def _of_python_2(arrays: list[np.ndarray]) -> bytes:
    """A list of bytes ``[n, 1]`` as cPickle of Python 2 wrote it, with protocol 2."""
    written = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01J"
        + struct.pack("<i", len(array))
        + b"K\x01\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        + b"J\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(array))
        + array.tobytes()
        + b"tb"
        for array in arrays
    )
    return b"\x80\x02](" + b"".join(written) + b"e."


@pytest.mark.parametrize("write", [pickle.dumps, _of_python_2])
def test_many_small_arrays_stay_in_the_file(
    tmp_path: Path, write: Callable[[list[np.ndarray]], bytes]
) -> None:
    """Encoded images: more bytes than may be in memory, in arrays that are small each."""
    n, size = 1200, 60_000
    rng = np.random.default_rng(0)
    arrays = list(rng.integers(0, 256, (n, size, 1), dtype=np.uint8))
    (tmp_path / "file.pkl").write_bytes(write(arrays))
    with Originals(tmp_path) as originals:
        with pytest.raises(DataError, match="too many strings"):
            read_pickle(originals, "file.pkl")
        tracemalloc.start()
        try:
            found = read_pickle(originals, "file.pkl", many=True)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < n * 2048
        for array, expected in zip(found, arrays, strict=True):
            np.testing.assert_array_equal(array.rows(0, len(array)), expected)


@pytest.mark.parametrize("protocol", [2, 4])
def test_large_arrays_stay_in_the_file(tmp_path: Path, protocol: int) -> None:
    images = np.zeros((2000, 84, 84, 3), dtype=np.uint8)
    images[1999] = 200  # As Latin-1 two bytes in UTF-8: protocol 2 must recode.
    (tmp_path / "file.pkl").write_bytes(pickle.dumps({"image_data": images}, protocol))
    with Originals(tmp_path) as originals:
        tracemalloc.start()
        try:
            array = read_pickle(originals, "file.pkl")["image_data"]
            last = array.rows(1999, 2000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        np.testing.assert_array_equal(last[0], images[1999])
        assert peak < images.nbytes / 4
        with pytest.raises(IndexError):
            array.rows(1999, 2001)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array(["a"], dtype=object), "asks for|not consist of plain numbers"),
        (np.array([1 + 2j]), "not consist of plain numbers"),
        (np.asfortranarray(np.ones((3, 2))), "not consist of plain numbers in C order"),
        (np.array(5), "not consist of plain numbers in C order"),
        (np.array([(1, 2)], dtype="i4,i4"), "not consist of plain numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(tmp_path, pickle.dumps(array, 2))


VALID = [
    pickle.dumps(
        {"image_data": PIXELS[:2, :2, :2], "class_dict": {"n1": [0, np.int64(1)]}}, protocol
    )
    for protocol in range(6)
]
FUZZ = settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def survives(folder: Path, content: bytes) -> None:
    try:
        read(folder, content)
    except DataError as error:
        message = error.message
    else:
        return
    assert "\n" not in message
    assert len(message) < 1000


@FUZZ
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    survives(tmp_path, content)


@FUZZ
@given(
    parts=st.lists(
        st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])
        | st.binary(max_size=6),
        max_size=40,
    )
)
def test_any_opcodes_are_read_or_refused(tmp_path: Path, parts: list[bytes]) -> None:
    survives(tmp_path, b"".join(parts))


@FUZZ
@given(
    valid=st.sampled_from(VALID),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=4),
)
def test_any_change_of_a_sound_pickle_is_read_or_refused(
    tmp_path: Path, valid: bytes, cut: float, changes: list[tuple[float, bytes]]
) -> None:
    content = bytearray(valid[: round(cut * len(valid))] if cut < 0.5 else valid)
    for where, new in changes:
        place = round(where * len(content))
        content[place : place + len(new)] = new
    survives(tmp_path, bytes(content))
