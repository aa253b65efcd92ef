"""What becomes of a user's files, good and bad."""

from __future__ import annotations

import io
import multiprocessing
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.data import Archive, Preparation, import_archive, open_pack, verify_pack
from metabench.errors import DataError


def nothing_is_left(root: Path) -> bool:
    return not root.exists() or not [path for path in root.rglob("*") if path.is_file()]


def rewrite(path: Path, name: str, content: bytes) -> None:
    """Give one member of a zip another content."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, content if member == name else data)


def test_pack_holds_each_image_resized_under_its_class(
    tiny_archive: Archive, tiny_zips: Path, tiny_folder: Path, data_root: Path
) -> None:
    pack = import_archive(tiny_archive, tiny_zips)
    assert pack.class_names == (
        "background/Greek/character01",
        "background/Korean/character01",
        "background/Korean/character02",
        "evaluation/Gurmukhi/character01",
        "evaluation/Tengwar/character01",
    )
    assert pack.index.classes[0].group == "Greek"
    assert pack.offsets().tolist() == [0, 4, 8, 12, 16, 20]
    images = pack.images()
    assert images.shape == (20, 28, 28, 1)
    before = images[0, 0, 0, 0]
    images[0, 0, 0, 0] = 255 - before
    assert pack.images()[0, 0, 0, 0] == before  # a write stays in memory
    drawing = sorted((tiny_folder / "images_background/Korean/character02").iterdir())[3]
    with Image.open(drawing) as image:
        resized = image.convert("L").resize((28, 28), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images[11, ..., 0], np.asarray(resized))
    assert len(np.unique(images)) > 2, "a one-bit image was resized without the filter"


def test_zips_and_folders_give_the_same_pack(
    tiny_archive: Archive, tiny_zips: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both.zip"
    with zipfile.ZipFile(both, "w") as archive:
        for path in sorted(tiny_folder.rglob("*.png")):
            archive.write(path, f"omniglot-py/{path.relative_to(tiny_folder).as_posix()}")
    packs = [
        import_archive(tiny_archive, path, root=tmp_path / f"root-{i}")
        for i, path in enumerate((tiny_zips, tiny_folder, tiny_folder.parent, both))
    ]
    assert len({pack.index.digest for pack in packs}) == 1
    assert len({pack.index.originals_sha256 for pack in packs}) == 1
    assert sorted(packs[0].index.archives_sha256) == [
        "images_background.zip",
        "images_evaluation.zip",
    ]


def test_another_preparation_is_another_pack(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    first = import_archive(tiny_archive, tiny_folder)
    preparation = Preparation(size=20, resize="box")
    second = import_archive(tiny_archive, tiny_folder, preparation=preparation)
    assert second.folder.name == "20-box"
    assert second.images().shape == (20, 20, 20, 1)
    assert first.index.digest != second.index.digest
    assert open_pack("omniglot", preparation).index == second.index


def test_progress_ends_at_the_number_of_images(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    import_archive(tiny_archive, tiny_folder, report=lambda *step: seen.append(step))
    assert seen[-1] == ("pack omniglot", 20, 20)
    assert [done for _, done, _ in seen] == list(range(1, 21))


def test_a_damaged_pack_is_replaced_and_a_sound_one_kept(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    pack = import_archive(tiny_archive, tiny_folder)
    before = (pack.folder / "images.npy").stat().st_ino
    assert not pack.kept
    assert import_archive(tiny_archive, tiny_folder).kept
    assert (pack.folder / "images.npy").stat().st_ino == before
    with (pack.folder / "images.npy").open("r+b") as damaged:
        damaged.truncate(200)
    verify_pack(import_archive(tiny_archive, tiny_folder))
    assert [path.name for path in pack.folder.parent.iterdir()] == ["28-lanczos"]


def test_a_sound_pack_of_other_images_is_not_replaced(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    before = import_archive(tiny_archive, tiny_folder)
    drawing = sorted((tiny_folder / "images_background/Korean/character02").iterdir())[0]
    Image.new("1", (105, 105)).save(drawing)
    with pytest.raises(DataError, match=f"other images .digest {before.index.digest}") as caught:
        import_archive(tiny_archive, tiny_folder)
    assert caught.value.exit_code == 3
    assert caught.value.hint == f"Remove the folder {before.folder} first."
    verify_pack(before)
    assert [path.name for path in before.folder.parent.iterdir()] == ["28-lanczos"]
    (before.folder / "images.npy").write_bytes(b"")  # what is damaged is no loss
    assert not import_archive(tiny_archive, tiny_folder).kept


def _import(archive: Archive, folder: Path, root: Path) -> str:
    return import_archive(archive, folder, root=root).index.digest


def test_two_processes_at_once_leave_one_sound_pack(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [(tiny_archive, tiny_folder, data_root)] * 8
        digests = pool.starmap(_import, jobs, chunksize=1)
    assert len(set(digests)) == 1
    assert [path.name for path in (data_root / "omniglot").iterdir()] == ["28-lanczos"]
    verify_pack(open_pack("omniglot", tiny_archive.preparation))


def remove_zip(folder: Path) -> None:
    (folder / "images_evaluation.zip").unlink()


def corrupt_zip(folder: Path) -> None:
    path = folder / "images_background.zip"
    data = bytearray(path.read_bytes())
    data[150:300] = bytes(150)
    path.write_bytes(data)


def truncate_zip(folder: Path) -> None:
    path = folder / "images_background.zip"
    path.write_bytes(path.read_bytes()[:-500])


def empty_zip(folder: Path) -> None:
    (folder / "images_background.zip").write_bytes(b"")


def web_page(folder: Path) -> None:
    (folder / "images_background.zip").write_bytes(b"\n<!DOCTYPE html><html>quota</html>")


def no_image(folder: Path) -> None:
    name = "images_background/Greek/character01/0003_02.png"
    rewrite(folder / "images_background.zip", name, b"no image")


def cut_image(folder: Path) -> None:
    name = "images_background/Greek/character01/0003_02.png"
    with zipfile.ZipFile(folder / "images_background.zip") as archive:
        data = archive.read(name)
    rewrite(folder / "images_background.zip", name, data[: len(data) // 2])


def huge_image(folder: Path) -> None:
    sink = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(sink, "png")
    name = "images_background/Greek/character01/0003_02.png"
    rewrite(folder / "images_background.zip", name, sink.getvalue())


def huge_member(folder: Path) -> None:
    name = "images_background/Greek/character01/0003_02.png"
    path = folder / "images_background.zip"
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, bytes(65 * 2**20) if member == name else data)


def drop_image(folder: Path) -> None:
    name = "images_evaluation/Tengwar/character01/0004_02.png"
    path = folder / "images_evaluation.zip"
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            if member != name:
                archive.writestr(member, data)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (remove_zip, "holds none of the 2 evaluation classes"),
        (corrupt_zip, "images_background.zip is damaged"),
        (truncate_zip, "images_background.zip is damaged"),
        (empty_zip, "images_background.zip is damaged"),
        (web_page, "images_background.zip is a web page"),
        (no_image, "0003_02.png in .* is not an image"),
        (cut_image, "0003_02.png in .* is not an image"),
        (huge_image, "0003_02.png in .* claims 10,000x10,000 pixels"),
        (huge_member, "0003_02.png in .*images_background.zip claims 68,157,440 bytes"),
        (drop_image, "Tengwar/character01 in .* has 3 images, not 4"),
        (shutil.rmtree, "zips does not exist"),
    ],
)
def test_bad_files_are_named_and_leave_nothing(
    tiny_archive: Archive,
    tiny_zips: Path,
    data_root: Path,
    harm: Callable[[Path], None],
    words: str,
) -> None:
    harm(tiny_zips)
    with pytest.raises(DataError, match=words) as caught:
        import_archive(tiny_archive, tiny_zips)
    assert caught.value.exit_code == 3
    assert caught.value.message.count("\n") == 0
    assert nothing_is_left(data_root)


def test_a_failed_import_keeps_the_pack_that_was_there(
    tiny_archive: Archive, tiny_zips: Path, data_root: Path
) -> None:
    before = import_archive(tiny_archive, tiny_zips)
    no_image(tiny_zips)
    with pytest.raises(DataError):
        import_archive(tiny_archive, tiny_zips)
    verify_pack(before)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    tiny_archive: Archive, tiny_zips: Path, data_root: Path
) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a thing of Unix")
    _, hard = soft_hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(DataError, match="Cannot write to") as caught:
            import_archive(tiny_archive, tiny_zips)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft_hard)
    assert "METABENCH_DATA" in caught.value.hint
    assert nothing_is_left(data_root)
