"""From the files of a user to a pack: find, check and write, then give the pack its name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from metabench.data.archive import Archive, Contents, Preparation, folder_name
from metabench.data.locations import data_root
from metabench.data.locks import held
from metabench.data.originals import Originals, is_archive
from metabench.data.pack import Pack, read_pack, verify_pack
from metabench.data.packing import write_pack
from metabench.data.progress import Progress
from metabench.durable import flush, hint_of
from metabench.errors import DataError


def import_archive(
    archive: Archive,
    path: Path,
    *,
    preparation: Preparation | None = None,
    root: Path | None = None,
    report: Progress | None = None,
    follow_links: bool = False,
) -> Pack:
    """Pack the files that the user has; safe to run twice, also at the same time.

    Args:
        archive: what the files are.
        path: a folder of the published files, of their unpacked content, or one zip.
        preparation: what to do to the images; the archive's own by default.
        root: the data root; the user's own by default.
        report: called with how much of a tarball is read, then with how many images are packed.
        follow_links: whether links that lead out of the folder are followed.

    Raises:
        DataError: something is missing, damaged or cannot be written, or a pack of other images
            has the name. Nothing is left half-written.
    """
    preparation = preparation or archive.preparation
    if not path.exists():
        raise DataError(f"{path} does not exist.", hint=f"PATH must be {archive.layout}.")
    if path.is_file() and not is_archive(path):
        raise DataError(
            f"{path} is neither a folder nor a zip or tarball.",
            hint=f"PATH must be {archive.layout}.",
        )
    archives = [*(file.name for file in archive.files), *archive.archives]
    with Originals(path, archives, report=report, follow_links=follow_links) as originals:
        contents = archive.scan(originals)
        archive = contents.archive or archive
        home = (root or data_root()) / archive.name
        _check_complete(archive, contents, path)
        with _workspace(home) as folder:
            made = write_pack(
                archive, originals, contents, preparation=preparation, folder=folder, report=report
            )
            return _publish(made, home / folder_name(preparation), named=archive.named)


def _check_complete(archive: Archive, contents: Contents, path: Path) -> None:
    classes = contents.classes
    if not classes:
        none = f"{path} holds no {archive.examples} of {archive.name}."
        raise DataError(
            " ".join((none, *contents.notes)),
            hint=f"PATH must be {archive.layout}.",
        )
    for part, expected in archive.parts.items():
        n = sum(found.name.split("/")[0] == part for found in classes)
        if n != expected:
            raise DataError(
                f"{path} holds {n or 'none'} of the {expected} {part} classes of {archive.name}.",
                hint=f"PATH must be {archive.layout}.",
            )
    seen: set[str] = set()
    for found in classes:
        if not found.images:
            raise DataError(
                f"{path} holds no images of {found.name}.", hint=f"PATH must be {archive.layout}."
            )
        if len(set(found.images)) < len(found.images) or not seen.isdisjoint(found.images):
            raise DataError(
                f"{path} lists an image of {found.name} twice.", hint="Download its lists again."
            )
        seen.update(found.images)
        if archive.per_class is not None and len(found.images) != archive.per_class:
            folder = found.images[0].rpartition("/")[0]
            raise DataError(
                f"{folder} in {path} has {len(found.images)} images, not {archive.per_class}.",
                hint="Unpack or download the files again.",
            )


@contextmanager
def _workspace(home: Path) -> Iterator[Path]:
    """A folder beside the packs; what is still in it afterwards is removed, whatever happens."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with held(home):
                _sweep(home)
                made = stack.enter_context(_temporary(home, ".writing-"))
                stack.enter_context(held(made))
            folder = made / "pack"
            folder.mkdir()
            yield folder
    except OSError as error:
        raise cannot_write(error, home) from error


@contextmanager
def _temporary(home: Path, prefix: str) -> Iterator[Path]:
    """A new folder that is removed; what cannot be removed is left to the next import.

    Removing never fails, so that it hides no other error.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cannot_write(error: OSError, place: Path) -> DataError:
    """An error of the operating system below the data root, as a sentence and a hint.

    Args:
        error: what was raised.
        place: what is named where the error names no file.
    """
    return DataError(
        f"Cannot write to {error.filename2 or error.filename or place}: {error.strerror or error}.",
        hint=f"{hint_of(error)} Or set METABENCH_DATA to another folder.",
    )


def _sweep(home: Path) -> None:
    """Remove what processes left that were killed; what a living one holds stays."""
    for left in [*home.glob(".writing-*"), *home.glob(".replaced-*")]:
        with held(left, wait=False) as is_free:
            if is_free:
                shutil.rmtree(left, ignore_errors=True)


def _publish(made: Pack, target: Path, *, named: bool) -> Pack:
    """Give a pack its name; the same one, already there and sound, is kept instead.

    Raises:
        DataError: a sound pack of other images has that name; it is never replaced.
    """
    while (there := _sound(target)) is None:
        with _temporary(target.parent, ".replaced-") as aside:
            with suppress(FileNotFoundError):
                target.rename(aside / "pack")
            flush(made.folder)
            try:
                made.folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
                # Another process was first: look at what it wrote.
                continue
            flush(target.parent)
            return Pack(target, made.index)
    if there.index.digest != made.index.digest:
        examples = made.index.examples
        other = f"Import these {examples} with another --name, or remove" if named else "Remove"
        raise DataError(
            f"{target} holds other {examples} (digest {there.index.digest}), not these "
            f"(digest {made.index.digest}).",
            hint=f"{other} the folder {target} first.",
        )
    return replace(there, kept=True)


def _sound(folder: Path) -> Pack | None:
    try:
        pack = read_pack(folder)
        verify_pack(pack)
    except DataError:
        return None
    return pack
