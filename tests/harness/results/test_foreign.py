import os

import pytest

from metabench.results.foreign import count_lines, json_lines, read_end


def test_no_more_than_the_end_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_end(tmp_path / "file", 4) == b"6789"
    assert read_end(tmp_path / "file", 40) == b"0123456789"
    assert read_end(tmp_path / "none", 4) == b""


def test_lines_that_are_no_mappings_and_the_one_that_is_being_written_are_passed_over(tmp_path):
    deep = b"[" * 100_000
    lines = [b'{"a": 1}', b"[1]", b"\xff\xfe", deep, b'{"a": 2}', b'{"a": 3}']
    (tmp_path / "file").write_bytes(b"\n".join(lines))
    assert list(json_lines(tmp_path / "file", 2**20)) == [{"a": 1}, {"a": 2}]


def test_only_complete_lines_are_counted(tmp_path):
    (tmp_path / "file").write_bytes(b"a\nb\nc")
    assert count_lines(tmp_path / "file") == 2
    assert count_lines(tmp_path / "none") == 0


@pytest.mark.parametrize("read", [lambda path: read_end(path, 9), count_lines])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a plain file"):
        read(tmp_path / "pipe")
