"""Hostile inputs of every kind, made from a seed and given to the command line in this process.

    python tests/helpers/hostile_inputs.py FOLDER [N] [SEED] [KIND]...

It counts, by kind, what was refused and what was read, and prints that as JSON: with tracebacks,
inputs that take too long, unfinished files, raw control characters, programs that were started, and
the memory that the inputs took above that of the same commands on sound files.
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import socket
import struct
import sys
import tarfile
import threading
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from result_factory import make_spec, write_run
from safetensors.torch import save_file
from search_factory import A, B, write_search
from typer.testing import CliRunner

from metabench.cli import app
from metabench.data import Preparation, RemoteFile, fetch_archive
from metabench.errors import MetabenchError
from metabench.papers.claims.schema import load_claims
from metabench.papers.reference_files import load_reference
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog
from metabench.values import digest

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20
"""No input may take longer, in seconds of the processor: a busy machine makes none fail."""
WAIT = 300
"""No input may wait longer, such as for a pipe, in seconds of a clock."""
ADDRESSES = 8 * 2**30
"""Bytes of memory that the process may map, so that a bomb ends as an error here."""
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork")
"""What the audit hooks of Python call the start of a program."""
UNFINISHED = re.compile(r"\.(?!lock$|plans$).+\.\d+|\.tmp\w{6}|.*\.part")
RAW = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

HOSTILE_TEXT = (
    *("", "~", "null", "true", "1:30", "010", "0x", "1e999", "-1", "-0.0", ".nan", "2001-99-99"),
    *("!!int x", "!!python/object/apply:os.system [id]", "!!binary x", "!!timestamp x", "&a [*a]"),
    *("{", "]", "{a: 1, a: 2}", "? [x]", "? {x: y}", "*a", "&", "%", "@", "`", "'", '"', "|", ">"),
    *("\x1b[2J\x1b]0;x\x07", "a\nb\r\nc", "\u202eleft", "\udcff\udc80", "\ud800", "\x00", "\x85"),
    *("1" * 5000, "[" * 1000, "{a: " * 1000, "," * 1000, "x" * 100_000, "x " * 50_000, "\t" * 99),
    *("../../x", "/dev/zero", "/proc/self/mem", "%s%n", "{0}", "$HOME", "[bold]x[/bold]", "--help"),
    *("9" * 18, str(2**63), str(-(2**63) - 1), "1" + "0" * 400, "1_000", "1e400..1", "..", "1..2"),
    *(
        "1..0",
        "0..1:log",
        "1..2:exp",
        "1e-400..1e400",
        "nan..1",
        "0..99999999999999999999",
        "\uff11",
    ),
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, float("nan"), float("inf")),
    *("", "\x1b[2J", "\ud800", "x" * 20_000, "../../x", "/", ".", "'", "a\nb", "--out='", "\x00"),
    *([], {}, [[]], [None], {"": None}, {"\x1b": 1}, [10**400], [1, "x"], {"a": {"a": {}}}),
)


@dataclass
class Outcome:
    """What became of the inputs of a kind.

    Attributes:
        tried: inputs.
        refused: of these, with one sentence.
        faults: what must not be, in words, by the input.
    """

    tried: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)


class TooLongError(BaseException):
    """An input took longer than :data:`SECONDS`, or waited longer than :data:`WAIT`."""


Act = Callable[[], Any]
"""Gives the input to the code that reads it."""


def cli(*words: str | Path) -> Act:
    """A command, without a process of its own, of words that a shell can pass on."""
    passed = [str(word).replace("\x00", "").replace("\ud800", "\udc80") for word in words]
    return lambda: CliRunner().invoke(app, passed)


def broken(rng: random.Random, data: bytes) -> bytes:
    """Bytes with damage of one sort."""
    at = rng.randrange(len(data) + 1)
    width = rng.choice((1, 2, 8, 100))
    text = rng.choice(HOSTILE_TEXT).encode("utf-8", "surrogatepass")
    numbers = [*re.finditer(rb"-?\d+(\.\d+)?", data)]
    one = rng.choice(numbers) if numbers else None
    return rng.choice(
        (
            lambda: data[:at],
            lambda: data[at:],
            lambda: b"",
            lambda: data[:at] + rng.randbytes(width) + data[at + width :],
            lambda: data[:at] + text + data[at:],
            lambda: data[:at] + bytes(width) + data[at:],
            lambda: data[:at] + data[at : at + 100] * 20 + data[at:],
            lambda: data[:at] + b"[" * 5000 + data[at:],
            lambda: data if one is None else data[: one.start()] + text + data[one.end() :],
            lambda: data.replace(b"\n", rng.choice((b"\r", b"\x00", b"\n\n", b" "))),
            lambda: rng.randbytes(300),
            lambda: text,
        )
    )()


def edited(rng: random.Random, value: Any) -> Any:
    """A JSON value with one hostile part."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice([*value])
        what = rng.random()
        if what < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if what < 0.15:
            return {**value, rng.choice(("x", "", "\x1b[2J")): 1}
        return {**value, key: edited(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], edited(rng, value[at]), *value[at + 1 :]]
    return rng.choice(HOSTILE_VALUES)


def odd_file(rng: random.Random, path: Path) -> None:
    """What is no plain file, or no small one, in the place of a file."""
    path.unlink(missing_ok=True)
    rng.choice(
        (
            lambda: os.mkfifo(path),
            path.mkdir,
            lambda: path.symlink_to("/dev/zero"),
            lambda: path.symlink_to("/nowhere"),
            lambda: path.symlink_to(path.name),
            lambda: path.symlink_to("/proc/self/mem"),
            lambda: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**32),
        )
    )()


# Sound files, made once ---------------------------------------------------------------------------


def sound_results(root: Path) -> Path:
    """Runs of several kinds, with all files that a run may have."""
    for seed in (0, 1):
        for learner in ("maml", "reptile"):
            folder = write_run(root, make_spec(learner, seed=seed), [i / 8 for i in range(8)])
            lines = [json.dumps({"step": s, "loss": 1 / (s + 1), "val_score": 0.5}) for s in (1, 5)]
            (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
            timing = {"phase": "meta-train", "seconds": 1.5, "count": 10, "machine": "0"}
            (folder / "timings.jsonl").write_text(json.dumps(timing) + "\n")
    folder = write_search(root, [A, B] * 4, embedded=8)
    mixture = {"cell": "normal", "source": 0, "target": 2, "names": ["a", "b"]}
    panel = mixture | {"weights": [[0.5, 0.5], [0.25, 0.75]]}
    line = {"index": 0, "steps": [0, 1], "panels": [panel]}
    (folder / "mixtures.jsonl").write_text(json.dumps(line) + "\n")
    return root


def sound_images(root: Path) -> Path:
    """Ten classes of two images."""
    for kind in range(10):
        (root / f"class{kind}").mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng([kind, i]).integers(0, 256, (9, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / f"class{kind}" / f"{i}.png")
    return root


def sound_vectors(path: Path) -> Path:
    """Twenty vectors of ten classes."""
    features = np.arange(40, dtype=np.float32).reshape(20, 2)
    np.savez(path, features=features, labels=np.repeat([*"abcdefghij"], 2))
    return path


@dataclass(frozen=True)
class Sound:
    """Sound files that the inputs are made from."""

    results: Path
    images: Path
    vectors: Path
    suite: bytes
    plan: bytes
    claims: bytes
    reference: bytes
    reference_name: str
    entry: bytes

    @classmethod
    def made(cls, root: Path) -> Sound:
        """Make them below a folder."""
        catalog = load_catalog()
        results = sound_results(root / "results")
        entry = root / "sound.yaml"
        done = cli("leaderboard", results, "--new-entry", entry, "--submitter", "J. Doe")()
        assert done.exit_code == 0, done.output
        name, reference = sorted(catalog.references.items())[0]
        return cls(
            results=results,
            images=sound_images(root / "images"),
            vectors=sound_vectors(root / "vectors.npz"),
            suite=catalog.suite("toy-regression").read_bytes(),
            plan=b"learners: [maml]\nsuites: [toy-regression]\nseeds: [0, 1]\n"
            b"set: {learner.inner_lr: 0.01}\nsweep: {network.width: [8, 16]}\n",
            claims=sorted(catalog.claims.items())[0][1].read_bytes(),
            reference=reference.read_bytes(),
            reference_name=f"{name}.yaml",
            entry=entry.read_bytes(),
        )


# Kinds of inputs ----------------------------------------------------------------------------------

PLANS = ("run", "--suite", "toy-regression", "--dry-run", "--no-probe")
TUNES = ("tune", "--learner", "maml", "--suite", "toy-regression", "--dry-run")


def values(rng: random.Random, home: Path, sound: Sound) -> Act:
    scope = rng.choice(("learner.inner_lr", "protocol.episodes", "network.width", "budget.x"))
    scope = rng.choice((scope, scope, rng.choice(HOSTILE_TEXT)))
    return cli(*PLANS, "--learner", "maml", "--set", f"{scope}={rng.choice(HOSTILE_TEXT)}")


def ranges(rng: random.Random, home: Path, sound: Sound) -> Act:
    text = rng.choice(HOSTILE_TEXT)
    text = rng.choice((text, f"{text}..1", f"1..{text}", f"1..2:{text}", f"{text},1"))
    return cli(*TUNES, "--set", f"learner.inner_lr={text}", "--out", home / "tuning")


OPTIONS = (
    *("learner", "suite", "setting", "budget", "network", "strategy", "seed", "metric", "device"),
    *(
        "precision",
        "engine",
        "threads",
        "executor",
        "jobs",
        "ranks",
        "time-limit",
        "shard",
        "limit",
    ),
    *("tracker", "out", "checkpoint-every", "data", "save-plan", "plugin", "unknown-option"),
)


def options(rng: random.Random, home: Path, sound: Sound) -> Act:
    name, text = rng.choice(OPTIONS), rng.choice((*HOSTILE_TEXT, "," * 100_000, "999999999999"))
    if name in ("out", "save-plan"):
        text = str(home / text.replace("/", "_").replace("\x00", "")[:300])
    first = () if name == "learner" else ("--learner", "maml")
    return cli(*PLANS, *first, f"--{name}={text}")


def arguments(rng: random.Random, home: Path, sound: Sound) -> Act:
    commands = (
        "report",
        "status",
        "claims",
        "genotypes",
        "show",
        "list",
        "figure",
        "export",
        "nope",
    )
    words = [rng.choice(commands), rng.choice(HOSTILE_TEXT).replace("\x00", "")]
    if words[0] == "figure":
        words.append(rng.choice(HOSTILE_TEXT))
    if words[0] == "export":
        words += ["--out", str(home / "x.safetensors")]
    return cli(*words)


def suites(rng: random.Random, home: Path, sound: Sound) -> Act:
    file = home / "toy-regression.yaml"
    file.write_bytes(broken(rng, sound.suite))
    if rng.random() < 0.1:
        odd_file(rng, file)
    if rng.random() < 0.5:
        return lambda: load_suite(file)
    return cli(*PLANS[:1], "--suite", file, *PLANS[3:], "--learner", "maml")


def plans(rng: random.Random, home: Path, sound: Sound) -> Act:
    file = home / "plan.yaml"
    file.write_bytes(broken(rng, sound.plan))
    if rng.random() < 0.1:
        odd_file(rng, file)
    return cli("run", file, "--dry-run", "--no-probe")


def papers(rng: random.Random, home: Path, sound: Sound) -> Act:
    if rng.random() < 0.5:
        claims = home / "claims.yaml"
        claims.write_bytes(broken(rng, sound.claims))
        return lambda: load_claims(claims)
    reference = home / sound.reference_name
    reference.write_bytes(broken(rng, sound.reference))
    return lambda: load_reference(reference)


def reading(rng: random.Random, results: Path, home: Path) -> Act:
    """A command that reads results."""
    run = rng.choice(sorted(path.parent for path in results.rglob("run.json")))
    return cli(
        *rng.choice(
            (
                ("report", results),
                ("report", results, "--format", rng.choice(("json", "csv", "md", "tex", "html"))),
                ("report", results, "--commands"),
                ("status", results),
                ("status", results, "--json"),
                ("claims", results),
                ("compare", "maml", "reptile", results),
                ("genotypes", results),
                ("view", results, "--bundle", home / "page"),
                ("leaderboard", results, "--out", home / "site"),
                ("leaderboard", results, "--new-entry", home / "e.yaml", "--submitter", "x"),
                ("figure", "curves", results, "-o", home / "x.svg"),
                ("figure", "genotypes", results, "-o", home / "x.svg"),
                ("figure", "embeddings", results, "-o", home / "x.svg"),
                ("figure", "annealing", results, "-o", home / "x.svg", "--learner", "mnas"),
                ("export", run, "--out", home / "x.safetensors"),
                ("track", results, "--tracker", "csv"),
            )
        )
    )


def files_of_runs(rng: random.Random, home: Path, sound: Sound) -> Act:
    results = home / "results"
    shutil.copytree(sound.results, results)
    file = rng.choice(sorted(path for path in results.rglob("*") if path.is_file()))
    if rng.random() < 0.2:
        act = reading(rng, results, home)
        odd_file(rng, file)
        return act
    file.write_bytes(broken(rng, file.read_bytes()))
    return reading(rng, results, home)


def fields_of_records(rng: random.Random, home: Path, sound: Sound) -> Act:
    """Records that are JSON and have their digest, with a hostile value in one place."""
    results = home / "results"
    shutil.copytree(sound.results, results)
    file = rng.choice(sorted(results.rglob("*.json*")))
    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    at = rng.randrange(len(lines))
    value = edited(rng, json.loads(lines[at]))
    if isinstance(value, dict) and "spec" in value:
        with suppress(ValueError):
            value["run_id"] = digest(value["spec"])
    lines[at] = json.dumps(value)
    file.write_text("\n".join(lines) + "\n")
    return reading(rng, results, home)


def entries(rng: random.Random, home: Path, sound: Sound) -> Act:
    text = sound.entry.replace(b"results: results", f"results: {sound.results}".encode())
    (home / "sound.yaml").write_bytes(broken(rng, text))
    if rng.random() < 0.1:
        odd_file(rng, home / "sound.yaml")
    last = rng.choice((("--check",), ("--out", home / "site")))
    return cli("leaderboard", home / "sound.yaml", *last)


def weights(rng: random.Random, home: Path, sound: Sound) -> Act:
    tensors = {"a": torch.zeros(3, 4), "b.weight": torch.ones(2)}
    huge = torch.zeros(1).expand(10**6, 10**6)
    made: dict[str, Callable[[Path], Any]] = {
        "safetensors": lambda path: save_file(tensors, path, metadata={"record": "{}"}),
        "pt": lambda path: torch.save(rng.choice((tensors, {"a": huge}, {"a": [1]}, huge)), path),
        "pkl": lambda path: path.write_bytes(pickle.dumps(os.getcwd)),
    }
    suffix = rng.choice([*made])
    file = home / f"weights.{suffix}"
    made[suffix](file)
    if rng.random() < 0.7:
        file.write_bytes(broken(rng, file.read_bytes()))
    elif rng.random() < 0.3:
        odd_file(rng, file)
    first = ("--learner", "maml", "--suite", "toy-regression")
    return cli("evaluate", file, *first, "--dry-run", "--out", home / "out")


def checkpoints(rng: random.Random, home: Path, sound: Sound) -> Act:
    results = home / "results"
    shutil.copytree(sound.results, results)
    run = next(iter(sorted(path.parent for path in results.rglob("run.json"))))
    (run / "checkpoints").mkdir()
    file = run / "checkpoints" / "weights.safetensors"
    skeleton = rng.choice(
        ('{"map": [["a", "tensor:a"]]}', "[" * 5000, '{"map": [["a"]]}', "1", '{"list": 3}', "{}")
    )
    save_file({"a": torch.zeros(3)}, file, metadata={"skeleton": skeleton})
    if rng.random() < 0.5:
        file.write_bytes(broken(rng, file.read_bytes()))
    elif rng.random() < 0.3:
        odd_file(rng, file)
    if rng.random() < 0.5:
        return cli("export", run, "--out", home / "x.safetensors")
    return cli("evaluate", run, "--dry-run", "--out", home / "out")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def image_bytes(rng: random.Random) -> bytes:
    """An image that is none, is damaged, claims too much or wants a program."""
    sink = io.BytesIO()
    kind = rng.choice(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "EPS", "ICO", "PDF"))
    Image.new("RGB", (9, 9), "red").save(sink, kind)
    sides = rng.choice(((1, 89_000_000), (60_000, 60_000), (2**31 - 1, 1), (0, 0)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0))
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", gzip.compress(bytes(10**5)))
        + chunk(b"IEND", b"")
    )
    return rng.choice((broken(rng, sink.getvalue()), sink.getvalue(), bomb))


def importing(name: str, path: Path, home: Path) -> Act:
    named = ("--name", "x") if name.endswith("-folder") else ()
    sized = ("--size", "8") if name == "image-folder" else ()
    return cli("data", "import", name, path, *named, *sized)


def images(rng: random.Random, home: Path, sound: Sound) -> Act:
    folder = home / "images"
    shutil.copytree(sound.images, folder)
    name = rng.choice(
        ("x.png", "x.png", "x.jpg", "x.gif", "x.tif", "a\nb.png", "\x1b[2J.png", "\udcff.png")
    )
    file = folder / "class0" / name
    if rng.random() < 0.2:
        odd_file(rng, file)
    else:
        file.write_bytes(image_bytes(rng))
    if rng.random() < 0.2:
        (folder / rng.choice(("\x1b[2J", "a\nb", "\udc80", "x" * 255))).mkdir()
    return importing("image-folder", folder, home)


def lying_zip(rng: random.Random, sound: Sound) -> bytes:
    """A zip whose member holds more than it says, or is packed by another method."""
    sink = io.BytesIO()
    method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(sink, "w", method) as archive:
        archive.writestr("class0/0.png", bytes(2**23))
        for i in range(1, 9):
            archive.writestr(f"class{i}/0.png", (sound.images / "class0" / "0.png").read_bytes())
        archive.writestr(rng.choice(("../x.png", "/x.png", "c/\x1b[2J.png", "c/d.png", "c")), b"x")
    data = sink.getvalue()
    return data.replace(struct.pack("<I", 2**23), struct.pack("<I", rng.choice((100, 2**32 - 2))))


def hostile_tar(rng: random.Random) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in (
            "class0/0.png",
            rng.choice(("../x.png", "/etc/x.png", "x\x1b.png", "x" * 300)),
        ):
            member = tarfile.TarInfo(name)
            member.type = rng.choice(
                (tarfile.REGTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE)
            )
            member.linkname = "/etc/passwd" if member.type == tarfile.SYMTYPE else ""
            member.pax_headers = {"comment": "x" * rng.choice((1, 10**6, 3 * 10**6))}
            member.size = 3 if member.type == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    data = sink.getvalue()
    return rng.choice((data, gzip.compress(data), bz2.compress(data), gzip.compress(bytes(2**24))))


def archives(rng: random.Random, home: Path, sound: Sound) -> Act:
    name = rng.choice(("x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.gz", "x"))
    data = lying_zip(rng, sound) if rng.random() < 0.5 else hostile_tar(rng)
    file = home / name
    file.write_bytes(broken(rng, data) if rng.random() < 0.5 else data)
    if rng.random() < 0.1:
        odd_file(rng, file)
    return importing(rng.choice(("image-folder", "omniglot", "miniimagenet")), file, home)


class Starts:
    """A pickle that would start a program."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch started-by-a-pickle",)


def pickles(rng: random.Random, home: Path, sound: Sound) -> Act:
    folder = home / "cifar-10-batches-py"
    folder.mkdir()
    batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], "filenames": ["a", "b"]}
    things = (
        batch,
        Starts(),
        {**batch, "data": Starts()},
        [[]] * 10**5,
        {**batch, "labels": [10**400]},
    )
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        data = pickle.dumps(rng.choice(things), rng.choice((0, 2, 4, 5)))
        bomb = b"\x80\x04X" + struct.pack("<I", 2**31 - 1) + b"x"
        data = rng.choice((data, broken(rng, data), bomb, b"(lp0\n" + b"(l" * 10**5 + b"."))
        (folder / name).write_bytes(data)
    return importing("cifar10", home, home)


def arrays(rng: random.Random, home: Path, sound: Sound) -> Act:
    file = home / rng.choice(("x.npz", "x.npz", "x.zip"))
    sink = io.BytesIO()
    array = rng.choice(
        (np.zeros((20, 2)), np.array([{}], dtype=object), np.zeros(0), np.full((20, 2), np.nan))
    )
    np.save(sink, array, allow_pickle=True)
    data = broken(rng, sink.getvalue())
    if rng.random() < 0.3:
        data = data.replace(
            b"(20, 2)", rng.choice((b"(9**9**9,)", b"(-1, 2)", b"(" * 60, b"(2**60,)"))
        )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", data)
        with zipfile.ZipFile(sound.vectors) as own:
            archive.writestr("labels.npy", own.read("labels.npy"))
    return importing("feature-folder", file, home)


def labels(rng: random.Random, home: Path, sound: Sound) -> Act:
    """Splits in CSV, JSON and YAML, through a suite of own images."""
    split = home / rng.choice(("splits.csv", "splits.json", "splits.yaml"))
    text = {
        ".csv": b"class,split\n" + b"".join(b"class%d,train\n" % i for i in range(10)),
        ".json": json.dumps(
            {"train": ["class0", "class1"], "val": [], "test": ["class2"]}
        ).encode(),
        ".yaml": b"train: [class0, class1]\nval: []\ntest: [class2]\n",
    }[split.suffix]
    split.write_bytes(broken(rng, text))
    if rng.random() < 0.15:
        odd_file(rng, split)
    params = {"path": str(sound.images), "splits": str(split), "size": 8}
    return cli("data", "show", suite_of(home, "image-folder", params))


def suite_of(home: Path, dataset: str, params: dict[str, Any]) -> Path:
    """A suite file on own data."""
    file = home / "own.yaml"
    values = {
        "name": "own",
        "version": 1,
        "task": "classification",
        "metric": "accuracy",
        "space": "conv4",
        "sources": [{"name": "own", "dataset": dataset, "params": params}],
        "protocol": {"ways": 2, "shots": 1, "queries": 1},
        "settings": {"2w1s": {}},
        "budgets": {
            "smoke": {"meta_steps": 1, "meta_batch": 1},
            "lite": {"meta_steps": 1, "meta_batch": 1},
        },
    }
    file.write_text(json.dumps(values))
    return file


def parameters(rng: random.Random, home: Path, sound: Sound) -> Act:
    """Suites that name files, modules and numbers that they should not."""
    path = rng.choice((*HOSTILE_TEXT, "os:system", str(home)))
    chosen = (
        ("torchmeta-classes", {"dataset": rng.choice(("os:system", "subprocess:Popen", path))}),
        ("image-folder", {"path": path}),
        ("image-folder", {"path": str(sound.images), "size": rng.choice((-1, 10**400, "x"))}),
        ("feature-folder", {"path": path}),
        (path, {}),
    )
    file = suite_of(home, *rng.choice(chosen))
    return cli(*PLANS[:1], "--suite", file, *PLANS[3:], "--learner", "maml")


def genotypes(rng: random.Random, home: Path, sound: Sound) -> Act:
    """Architectures in files that a parameter names."""
    file = home / rng.choice(("g.json", "genotypes.jsonl", "results/genotypes.jsonl"))
    file.parent.mkdir(exist_ok=True)
    value = edited(rng, {"genotype": A}) if file.suffix == ".jsonl" else edited(rng, A)
    data = json.dumps(value).encode()
    file.write_bytes(broken(rng, data) if rng.random() < 0.4 else data + b"\n")
    if rng.random() < 0.15:
        odd_file(rng, file)
    place = file.parent if file.parent != home else file
    first = ("--learner", "maml", "--network", rng.choice(("toy-cell:fixed", "given-genotype")))
    name = "strategy.genotype" if first[-1].endswith("fixed") else "network.genotype"
    return cli(*PLANS, *first, "--set", f"{name}={place}")


def plugins(rng: random.Random, home: Path, sound: Sound) -> Act:
    """Plugin files that fail in every way; what one holds is code, and only it may fail."""
    file = home / "hostile.py"
    file.write_text(
        rng.choice(
            (
                "class Own(BaseException): pass\nraise Own('\\x1b[2J')",
                "raise SystemExit(3)",
                "raise GeneratorExit",
                "def __dir__(): raise RuntimeError('\\x1b[2J')",
                "def __dir__(): raise SystemExit(0)",
                "def __getattr__(name): raise ValueError('\\x1b[2J' + name)",
                "class E(Exception):\n    def __str__(self): raise E\nraise E",
                "METABENCH_API = '\\x1b[2J'",
                "from metabench import hookimpl\n@hookimpl\ndef metabench_learners(): return 3",
                "from metabench import hookimpl\n@hookimpl\ndef metabench_learners():\n"
                "    class O:\n        def __repr__(self): raise BaseException\n    return [O()]",
                "from metabench import hookimpl\n@hookimpl\ndef metabench_suites():\n"
                "    yield 1\n    raise GeneratorExit",
                "\x00",
                "(" * 1000,
                "x = " + "[" * 200,
            )
        ),
        encoding="utf-8",
    )
    return cli(*rng.choice((("plugins", "list"), ("list", "learners"))), "--plugin", file)


def servers(rng: random.Random, home: Path, sound: Sound) -> Act:
    """Answers of a server to ``data fetch``."""
    content = b"x" * 1000
    esc = b"\x1b[2J\x07"
    answer = rng.choice(
        (
            rng.randbytes(200),
            b"",
            b"HTTP/1.1 200 OK\r\n\r\n" + content,
            b"HTTP/1.1 999 " + esc + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + content,
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Length: 5\r\n\r\n" + content,
            b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n" + content,
            b"HTTP/1.1 200 OK\r\nContent-Length: x" + esc + b"\r\n\r\n" + content,
            b"HTTP/1.1 206 OK\r\nContent-Range: bytes 9-/x\r\nContent-Length: 1000\r\n\r\n"
            + content,
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/" + esc + b"\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: //[::\r\n\r\n",
            b"HTTP/1.1 404 " + esc + b"\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + content,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"9" * 5000 + b"\r\n",
        )
    )

    def fetch() -> None:
        from metabench_plugins.datasets import omniglot

        with serving(answer) as port:
            file = RemoteFile(
                name="x.zip",
                urls=(f"http://user:secret@127.0.0.1:{port}/x.zip", "file:///etc/passwd"),
                digest=f"sha256:{sha256(content).hexdigest()}",
                size=len(content),
            )
            archive = dataclasses.replace(omniglot.ARCHIVE, files=(file,))
            fetch_archive(archive, preparation=Preparation(size=8), root=home / "data")

    return fetch


@contextmanager
def serving(answer: bytes) -> Iterator[int]:
    """A server on this machine that gives every client the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, suppress(OSError):
                        client.settimeout(2)
                        client.recv(2**16)
                        client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]


KINDS = (
    *(values, ranges, options, arguments, suites, plans, papers, parameters, genotypes),
    *(files_of_runs, fields_of_records, entries, weights, checkpoints, images, archives, pickles),
    *(arrays, labels, plugins, servers),
)


# Trying them --------------------------------------------------------------------------------------


@contextmanager
def within(seconds: float, *, wait: float) -> Iterator[None]:
    """Raise :class:`TooLongError` where a block computes longer, or waits longer, than it may."""

    def ring(*_: object) -> None:
        raise TooLongError

    limits = {
        (signal.SIGPROF, signal.ITIMER_PROF): seconds,
        (signal.SIGALRM, signal.ITIMER_REAL): wait,
    }
    for (number, timer), limit in limits.items():
        signal.signal(number, ring)
        signal.setitimer(timer, limit, 1.0)
    try:
        yield
    finally:
        for _, timer in limits:
            signal.setitimer(timer, 0)


def faults_of(act: Act, home: Path) -> tuple[bool, list[str]]:
    """Give an input to its reader: whether it was refused, and what must not be."""
    found, refused = [], False
    try:
        with within(SECONDS, wait=WAIT):
            result = act()
    except MetabenchError as error:
        refused = True
        if len(error.message) > 20_000:
            found.append(f"a message of {len(error.message):,} characters")
        if "secret" in error.in_full:
            found.append("a password is shown")
    except TooLongError:
        found.append("too long")
    except BaseException:
        found.append(traceback.format_exc())
    else:
        if hasattr(result, "exit_code"):
            refused = result.exit_code != 0
            found += faults_of_command(result)
    found += [
        f"unfinished: {path.name!r}"
        for path in home.rglob("*")
        if UNFINISHED.fullmatch(path.name) and not path.is_dir()
    ]
    return refused, found


def faults_of_command(result: Any) -> Iterator[str]:
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        yield "".join(traceback.format_exception(error))
    if result.exit_code not in (0, 1, 2, 3, 4):
        yield f"exit code {result.exit_code}"
    if "Traceback (most" in result.output:
        yield result.output
    if RAW.search(result.output):
        yield f"raw control characters: {result.output[-300:]!r}"
    if len(result.stderr) > 20_000:
        yield f"{len(result.stderr):,} characters on stderr"
    if result.exit_code and not result.stderr.strip() and not result.stdout.strip():
        yield "no word"


def tried(root: Path, n: int, seed: int, names: Collection[str] = ()) -> dict[str, Any]:
    """Try inputs of all kinds, or of those named, in turn; count by kind."""
    kinds = [kind for kind in KINDS if not names or kind.__name__ in names]
    started: list[str] = []
    sys.addaudithook(
        lambda event, args: started.append(f"{event} {args[:1]}") if event in STARTS else None
    )
    os.environ.update(
        METABENCH_DATA=str(root / "data"), METABENCH_CACHE=str(root / "cache"), NO_COLOR="1"
    )
    root.mkdir(parents=True, exist_ok=True)
    here = root / "no" / "results" / "here"
    here.mkdir(parents=True)
    os.chdir(here)
    sound = Sound.made(root / "sound")
    warm(sound, root / "warm")
    started.clear()  # Python asks the system for the processor's name by a program, once
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = idle
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    outcomes: dict[str, Outcome] = {kind.__name__: Outcome() for kind in kinds}
    costly: Counter[str] = Counter()
    for i in range(n):
        kind = kinds[i % len(kinds)]
        home = root / f"input-{i}"
        home.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            act = kind(random.Random(f"{seed} {i}"), home, sound)
            refused, faults = faults_of(act, home)
        one = outcomes[kind.__name__]
        one.tried += 1
        one.refused += refused
        one.faults += [f"{i}: {fault}" for fault in faults]
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        costly[f"{kind.__name__} {i}"] = (now - peak) // 1024
        peak = max(peak, now)
        shutil.rmtree(home, ignore_errors=True)
    return {
        "inputs": n,
        "kinds": {name: asdict(one) for name, one in outcomes.items()},
        "programs": started,
        "peak_mib_above_idle": (peak - idle) // 1024,
        "costly": [one for one in costly.most_common(5) if one[1] > 20],
    }


def warm(sound: Sound, home: Path) -> None:
    """Use readers of each sort once on sound files, so that what they load is not counted."""
    home.mkdir()
    cli("report", sound.results)()
    cli("leaderboard", sound.results, "--out", home / "site")()
    cli("figure", "curves", sound.results, "-o", home / "x.svg")()
    for name, path in (("image-folder", sound.images), ("feature-folder", sound.vectors)):
        importing(name, path, home)()
    cli(*PLANS, "--learner", "maml")()


if __name__ == "__main__":
    folder, n, seed, *names = [*sys.argv[1:4], *("100", "0")[len(sys.argv) - 2 :], *sys.argv[4:]]
    found = tried(Path(folder).resolve(), int(n), int(seed), names)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
