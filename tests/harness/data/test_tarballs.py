"""Tarballs read in place: sound ones in any form, and what hostile and damaged ones come to."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metabench.data import Archive, Originals, import_archive
from metabench.data import tarballs as tarballs_module
from metabench.errors import DataError

IMAGE = "images_background/Greek/character01/0003_02.png"


@pytest.fixture
def members(tiny_folder: Path) -> dict[str, bytes]:
    """The images of the tiny Omniglot by name."""
    return {
        path.relative_to(tiny_folder).as_posix(): path.read_bytes()
        for path in sorted(tiny_folder.rglob("*.png"))
    }


def member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.type = size, kind
    return found


def write(path: Path, members: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "gz") -> Path:
    """A tarball of these files, and then of members without content."""
    with tarfile.open(path, f"w:{mode}") as ball:
        for name, data in members.items():
            ball.addfile(member(name, size=len(data)), io.BytesIO(data))
        for found in more:
            ball.addfile(found)
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("all.tgz", "gz"), ("all.tar.gz", "gz"), ("all.tar", ""), ("z.tar", "gz")]
)
def test_a_tarball_gives_the_same_pack_as_its_folder(
    tiny_archive: Archive,
    tiny_folder: Path,
    members: dict[str, bytes],
    tmp_path: Path,
    name: str,
    mode: str,
) -> None:
    shuffled = list(members.items())
    random.Random(0).shuffle(shuffled)
    content = {f"./omniglot/{file}": data for file, data in shuffled}
    path = write(tmp_path / name, content, member("omniglot/", kind=tarfile.DIRTYPE), mode=mode)
    pack = import_archive(tiny_archive, path, root=tmp_path / "root-1")
    plain = import_archive(tiny_archive, tiny_folder, root=tmp_path / "root-2")
    assert pack.index.digest == plain.index.digest
    assert pack.index.originals_sha256 == plain.index.originals_sha256
    assert list(pack.index.archives_sha256) == [name]
    np.testing.assert_array_equal(pack.images(), plain.images())


def test_members_are_read_in_one_pass(
    members: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = list(members)
    random.Random(1).shuffle(shuffled)
    path = write(tmp_path / "all.tgz", {name: members[name] for name in shuffled})
    with Originals(path) as originals:
        assert originals.in_stored_order(members) == shuffled
        rewinds = []
        rewind = gzip._GzipReader._rewind  # type: ignore[attr-defined]
        monkeypatch.setattr(
            gzip._GzipReader,  # type: ignore[attr-defined]
            "_rewind",
            lambda reader: (rewinds.append(1), rewind(reader))[1],
        )
        read = {name: originals.read(name) for name in originals.in_stored_order(members)}
    assert read == members
    assert len(rewinds) <= 1


def test_a_read_out_of_order_is_slower_but_right(members: dict[str, bytes], tmp_path: Path) -> None:
    with Originals(write(tmp_path / "all.tgz", members)) as originals:
        assert all(originals.read(name) == members[name] for name in reversed(list(members)))


def test_reading_shows_progress_in_bytes_of_the_file(
    tiny_archive: Archive, members: dict[str, bytes], tmp_path: Path, data_root: Path
) -> None:
    path = write(tmp_path / "all.tgz", members)
    seen: list[tuple[str, int, int]] = []
    import_archive(tiny_archive, path, report=lambda *step: seen.append(step))
    read = [(done, total) for what, done, total in seen if what == "read all.tgz"]
    assert len(read) == len(members)
    assert [done for done, _ in read] == sorted(done for done, _ in read)
    assert 0 < read[-1][0] <= path.stat().st_size
    assert {total for _, total in read} == {path.stat().st_size}
    assert seen[-1] == ("pack omniglot", len(members), len(members))


def test_long_names_are_whole(tmp_path: Path) -> None:
    name = "/".join(["folder" * 8] * 6) + "/ü.png"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "all.tgz", "w:gz", format=form) as ball:
            ball.addfile(member(name, size=3), io.BytesIO(b"abc"))
        with Originals(tmp_path / "all.tgz") as originals:
            assert originals.names == [name]
            assert originals.read(name) == b"abc"


def absolute(path: Path, members: dict[str, bytes]) -> None:
    write(path, {**members, "/etc/cron.d/evil": b"x"})


def traversal(path: Path, members: dict[str, bytes]) -> None:
    write(path, {**members, "images_background/../../evil.png": b"x"})


def windows_traversal(path: Path, members: dict[str, bytes]) -> None:
    write(path, {**members, "..\\evil.png": b"x"})


def linked(kind: bytes) -> Callable[[Path, dict[str, bytes]], None]:
    def harm(path: Path, members: dict[str, bytes]) -> None:
        link = member(IMAGE, kind=kind)
        link.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else next(iter(members))
        write(path, {name: data for name, data in members.items() if name != IMAGE}, link)

    return harm


def escaping_link(path: Path, members: dict[str, bytes]) -> None:
    link = member("../escape", kind=tarfile.SYMTYPE)
    link.linkname = "/etc"
    write(path, members, link)


def huge_image(path: Path, members: dict[str, bytes]) -> None:
    write(path, {**members, IMAGE: bytes(65 * 2**20)})


def huge_claim(path: Path, members: dict[str, bytes]) -> None:
    write(path, members, member("readme.txt", size=2**40))


def huge_header(path: Path, members: dict[str, bytes]) -> None:
    """A bomb: a name that is a gigabyte long, and would be read at once."""
    header = member("././@LongLink", size=2**30, kind=tarfile.GNUTYPE_LONGNAME)
    with gzip.open(path, "wb", compresslevel=1) as sink:
        sink.write(header.tobuf(tarfile.GNU_FORMAT))


def negative_size(path: Path, members: dict[str, bytes]) -> None:
    header = bytearray(member("readme.txt").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with gzip.open(path, "wb") as sink:
        sink.write(bytes(header) + bytes(1024))


def endless(path: Path, members: dict[str, bytes]) -> None:
    """Zeros behind the end of the archive, as many as there are allowed to be, and more."""
    write(path, members)
    with path.open("ab") as sink, gzip.open(sink, "wb", compresslevel=1) as zeros:
        zeros.write(bytes(4 * 2**20))


def truncated(path: Path, members: dict[str, bytes]) -> None:
    write(path, members)
    path.write_bytes(path.read_bytes()[:-2000])


def without_checksum(path: Path, members: dict[str, bytes]) -> None:
    write(path, members)
    path.write_bytes(path.read_bytes()[:-8])


def flipped(path: Path, members: dict[str, bytes]) -> None:
    write(path, members)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def empty(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(b"")


def web_page(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(b"<!DOCTYPE html><html>Quota exceeded</html>")


def noise(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(random.Random(0).randbytes(5000))


def gzipped_noise(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(gzip.compress(random.Random(0).randbytes(5000)))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (absolute, r"all\.tgz holds '/etc/cron\.d/evil', a name that leads out"),
        (traversal, r"all\.tgz holds 'images_background/\.\./\.\./evil\.png', a name that leads"),
        (windows_traversal, r"all\.tgz holds .*evil\.png', a name that leads out"),
        (linked(tarfile.SYMTYPE), r"0003_02\.png in .*all\.tgz is a link, which is never followed"),
        (linked(tarfile.LNKTYPE), r"0003_02\.png in .*all\.tgz is a link, which is never followed"),
        (linked(tarfile.FIFOTYPE), r"0003_02\.png in .*all\.tgz is a link, which is never"),
        (escaping_link, r"all\.tgz holds '\.\./escape', a name that leads out"),
        (huge_image, r"0003_02\.png in .*all\.tgz claims 68,157,440 bytes"),
        (huge_claim, r"all\.tgz is damaged: readme\.txt claims 1,099,511,627,776 bytes"),
        (huge_header, r"all\.tgz is damaged: a header claims 1,073,741,824 bytes"),
        (negative_size, r"all\.tgz is damaged"),
        (endless, r"all\.tgz is damaged: it does not end"),
        (truncated, r"all\.tgz is damaged"),
        (without_checksum, r"all\.tgz is damaged"),
        (flipped, r"all\.tgz is damaged"),
        (empty, r"all\.tgz is damaged"),
        (web_page, r"all\.tgz is a web page"),
        (noise, r"all\.tgz is damaged"),
        (gzipped_noise, r"all\.tgz is damaged"),
    ],
)
def test_bad_tarballs_are_named_and_leave_nothing(
    harm: Callable[[Path, dict[str, bytes]], None],
    words: str,
    tiny_archive: Archive,
    members: dict[str, bytes],
    tmp_path: Path,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if harm is endless:
        monkeypatch.setattr(tarballs_module, "MAX_TOTAL", 2 * 2**20)
    harm(tmp_path / "all.tgz", members)
    with pytest.raises(DataError, match=words) as caught:
        import_archive(tiny_archive, tmp_path / "all.tgz")
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_a_link_that_nobody_reads_does_no_harm(
    tiny_archive: Archive, members: dict[str, bytes], tmp_path: Path, data_root: Path
) -> None:
    link = member("latest.txt", kind=tarfile.SYMTYPE)
    link.linkname = "readme.txt"
    path = write(tmp_path / "all.tgz", members, link)
    assert import_archive(tiny_archive, path).index.shape[0] == len(members)


def test_the_headers_of_many_members_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "many.tgz"
    entry = member("a.txt")
    entry.pax_headers = {"comment": "x" * 100_000}
    with gzip.open(path, "wb", compresslevel=1) as sink:
        sink.write(entry.tobuf(tarfile.PAX_FORMAT) * 200 + bytes(1024))
    tracemalloc.start()
    tarballs_module.Tarball(path).close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_archives_in_a_folder_are_known_by_content_and_capitals_are_alike(tmp_path: Path) -> None:
    member = tmp_path / "a.png"
    for name, mode in (
        ("ONE.TAR.GZ", "w:gz"),
        ("two.zip", "w:gz"),
        ("three.tar.bz2", "w:bz2"),
        ("more/four.tar.xz", "w:xz"),
        ("more/unasked.tar", "w"),
        ("._two.zip", "w"),
    ):
        member.write_text(name)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(member, f"{name}/a.png")
    patterns = ["*.zip", "*.tar.*", "more/*.xz"]
    with Originals(tmp_path, patterns) as originals:
        inside = [name for name in originals.names if name.endswith("/a.png")]
        read = {name: originals.read(name).decode() for name in inside}
    packed = ("ONE.TAR.GZ", "more/four.tar.xz", "three.tar.bz2", "two.zip")
    assert read == {f"{name}/a.png": name for name in packed}


def test_a_tarball_that_ends_like_a_zip_is_a_tarball(tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("b.png", "b")
    with tarfile.open(tmp_path / "outer.tar", "w") as archive:
        archive.add(inner, "inner.zip")
    with Originals(tmp_path / "outer.tar") as originals:
        assert originals.names == ["inner.zip"]


@pytest.mark.parametrize("packed", [False, True])
def test_what_follows_a_tarball_is_read_for_a_checksum_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """Behind a plain one there may be gigabytes of nothing."""
    plain = write(tmp_path / "x.tar", {"a": b"1"}, mode="").read_bytes() + bytes(2**24)
    path = tmp_path / "y.tar"
    path.write_bytes(gzip.compress(plain, compresslevel=0) if packed else plain)
    file = path.open("rb")
    monkeypatch.setattr(tarballs_module, "open_plain", lambda _: file)
    ball = tarballs_module.Tarball(path)
    assert (file.tell() > 2**24) is packed
    ball.close()
