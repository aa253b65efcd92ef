"""A file of others is a plain one, and no more of it is read than asked for."""

import os
from pathlib import Path

import pytest

from metabench.data.plain_files import NotReadError, open_plain, read_plain, require_plain


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [pipe, device, folder])
@pytest.mark.parametrize("read", [open_plain, require_plain, lambda path: read_plain(path, 9)])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path, make, read):
    make(tmp_path / "odd")
    with pytest.raises(NotReadError, match="it is not a plain file") as caught:
        read(tmp_path / "odd")
    assert caught.value.filename == str(tmp_path / "odd")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)


def test_a_larger_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(NotReadError, match="it has more than 1,000 bytes"):
        read_plain(path, 1000)


def test_a_plain_file_is_read_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "file", 7) == b"content"
    assert read_plain(tmp_path / "link", 7) == b"content"
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "none", 7)
