"""Every reader of foreign text and bytes, on damaged ones: only errors of the project leave it."""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hostile_inputs import Sound, broken, edited
from hypothesis import HealthCheck, Verbosity, given, settings
from hypothesis import strategies as st
from result_factory import PROVENANCE
from safetensors.torch import save_file

from metabench.data import Originals, read_pickle
from metabench.data.decoding import decode
from metabench.data.pack import read_pack
from metabench.errors import MetabenchError
from metabench.papers.claims.schema import load_claims
from metabench.papers.reference_files import load_reference
from metabench.planning.grid import parse_seeds, read_grid
from metabench.planning.overrides import parse_changes
from metabench.planning.ranges import read_range
from metabench.planning.shards import parse_shard
from metabench.planning.suite import load_suite
from metabench.planning.tuning import TuningPlan
from metabench.planning.validation import validated
from metabench.planning.yaml_files import read_mapping
from metabench.render.status_text import status_text
from metabench.reports.entries import read_entry
from metabench.results.figure_data import read_fits, read_mixtures
from metabench.results.folders import look_below
from metabench.results.overview import OverviewReader
from metabench.results.plans import read_plans
from metabench.results.reading import read_runs
from metabench.results.search_files import measure, read_own_genotypes
from metabench.results.tracker_notes import read_note
from metabench.results.training_curve import read_training_curve
from metabench.results.tunings import TuningRecord, read_tuning
from metabench.running import checkpoint
from metabench.running.weights_file import digest_of_foreign, read_trained
from metabench.text import for_terminal, plain, readable
from metabench.values import digest
from metabench_plugins.datasets import feature_folder, miniimagenet
from metabench_plugins.datasets.parts.class_splits import split_from_file
from metabench_plugins.datasets.parts.own_files import own_pack
from metabench_plugins.strategies.fixed import FixedParams

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
FEW = settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=HEALTH,
)
MANY = settings(FEW, max_examples=300, derandomize=False, verbosity=Verbosity.quiet)

Read = Callable[[Path, bytes], Any]


@dataclass(frozen=True)
class Reader:
    """A reader of bytes.

    Attributes:
        sound: what it reads without an error.
        read: gives it bytes, with an empty folder for them.
        lines: whether what is sound consists of JSON, line by line.
    """

    sound: bytes
    read: Read
    lines: bool = False


def in_file(name: str, read: Callable[[Path], Any]) -> Read:
    """Give a reader the bytes in a file of this name."""

    def act(home: Path, data: bytes) -> None:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        read(path)

    return act


def of_text(read: Callable[[str], Any]) -> Read:
    return lambda _, data: read(data.decode("utf-8", "replace"))


def in_run(sound: Path, name: str) -> Read:
    """Give the readers of a results folder the bytes as a file of its first searched run."""

    def act(home: Path, data: bytes) -> None:
        (source,) = sound.glob("*/mnas/*")
        folder = home / "results" / source.name
        if not folder.exists():
            shutil.copytree(source, folder)
        before = (folder / name).read_bytes() if (folder / name).exists() else b""
        (folder / name).write_bytes(data)
        try:
            found = read_runs(home)
            for run in found.runs:
                measure(run.folder, run.episodes)
                read_own_genotypes(run.folder)
            status_text(OverviewReader(home)())
        finally:
            (folder / name).write_bytes(before)

    return act


def with_archive(name: str) -> Read:
    def read(path: Path) -> None:
        with Originals(path) as originals:
            for member in originals.names:
                originals.read(member)

    return in_file(name, read)


def with_originals(name: str, read: Callable[[Originals], Any]) -> Read:
    def act(path: Path) -> None:
        with Originals(path.parent) as originals:
            read(originals)

    return in_file(name, act)


def archive(kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("a/1.png", b"content" * 50)
    else:
        with tarfile.open(fileobj=sink, mode=f"w:{kind}") as made:  # type: ignore[call-overload]
            member = tarfile.TarInfo("a/1.png")
            member.size = 7
            made.addfile(member, io.BytesIO(b"content"))
    return sink.getvalue()


def saved(write: Callable[[Path], Any], folder: Path) -> bytes:
    path = folder / "saved"
    write(path)
    return path.read_bytes()


def vectors(name: str) -> Read:
    """Give the reader of own vectors one of its two files; the other is sound."""

    def act(path: Path) -> None:
        for other, content in (("features.npy", an_array()), ("labels.txt", b"a\na\nb\nb")):
            if other != name:
                (path.parent / other).write_bytes(content)
        with Originals(path.parent) as originals:
            for kind in feature_folder.ARCHIVE.scan(originals).classes:
                for row in kind.images:
                    originals.read(row)

    return in_file(name, act)


def printable(text: str) -> None:
    """What reaches a terminal has no control characters but ends of lines and tabs."""
    for shown in (plain(text), readable(text), for_terminal(text)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert len(readable(text)) < 5000 + 6 * 4000


def an_array() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.zeros((4, 2), np.float32))
    return sink.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return Sound.made(tmp_path_factory.mktemp("sound"))


NAMES = [
    "set",
    "range",
    "seeds",
    "shard",
    "text",
    "yaml",
    "suite",
    "plan",
    "claims",
    "reference",
    "entry",
    "run.json",
    "episodes.jsonl",
    "metrics.jsonl",
    "timings.jsonl",
    "genotypes.jsonl",
    "embeddings.jsonl",
    "mixtures.jsonl",
    "fits.jsonl",
    "tuning.json",
    "plans",
    "note",
    "checkpoint",
    "exported",
    "torch",
    "image",
    "zip",
    "tar",
    "tar.gz",
    "tar.xz",
    "pickle",
    "npy",
    "labels.txt",
    "images.csv",
    "splits.csv",
    "splits.json",
    "splits.yaml",
    "genotype",
    "pack",
]


def readers(sound: Sound, folder: Path) -> dict[str, Reader]:
    (run,) = sound.results.glob("*/mnas/*")
    record = (run / "run.json").read_text()
    asked = TuningPlan(
        learners=("maml",), suites=("toy-regression",), sweep={"learner.inner_lr": [0.1, 0.2]}
    )
    tuning = TuningRecord(
        digest=asked.digest, plan=asked, sampler="grid", provenance=PROVENANCE, studies=()
    )
    pack = own_pack(feature_folder.ARCHIVE, str(sound.vectors), None, preparation=None)
    tensors = {"a": torch.zeros(3), "b": torch.ones(2, 2)}
    skeleton = '{"map": [["a", "tensor:a"], ["b", {"list": [1, {"str": "x"}]}]]}'
    state = saved(partial(save_file, tensors, metadata={"skeleton": skeleton}), folder)
    exported = saved(
        partial(save_file, tensors, metadata={"skeleton": skeleton, "record": record}), folder
    )
    plan = {
        **dict.fromkeys(("run_id", "suite", "setting", "budget", "learner", "command"), "x"),
        **dict.fromkeys(("seed", "meta_steps", "meta_batch", "n_episodes"), 1),
    }
    fit = {"index": 0, "source": "a", "low": -1, "high": 1, "truth": [0.0, 1.0]}
    fit |= {name: [0.5, 1.5] for name in ("fit", "support_x", "support_y")}
    names = [f"class{i}" for i in range(3)]

    def split(path: Path) -> Any:
        return split_from_file(path, names)

    def genotype(path: Path) -> Any:
        return validated(FixedParams, {"genotype": str(path)}, what="strategy")

    return {
        "set": Reader(b"learner.inner_lr=0.1,0.2", of_text(lambda text: parse_changes([text]))),
        "range": Reader(b"1e-4..1e-1:log", of_text(partial(read_range, of="x"))),
        "seeds": Reader(b"0,2,5..7", of_text(parse_seeds)),
        "shard": Reader(b"1/4", of_text(parse_shard)),
        "text": Reader(b"\x1b[2J text", of_text(printable)),
        "yaml": Reader(b"a: [1, {b: 2}]", in_file("x.yaml", partial(read_mapping, of="x"))),
        "suite": Reader(sound.suite, in_file("toy-regression.yaml", load_suite)),
        "plan": Reader(sound.plan, in_file("plan.yaml", read_grid)),
        "claims": Reader(sound.claims, in_file("claims.yaml", load_claims)),
        "reference": Reader(sound.reference, in_file(sound.reference_name, load_reference)),
        "entry": Reader(sound.entry, in_file("sound.yaml", read_entry)),
        **{
            name: Reader((run / name).read_bytes(), in_run(sound.results, name), lines=True)
            for name in ("run.json", "episodes.jsonl", "genotypes.jsonl", "embeddings.jsonl")
        },
        "metrics.jsonl": Reader(
            b'{"step": 1, "loss": 0.5}\n', in_file("metrics.jsonl", read_training_curve), lines=True
        ),
        "timings.jsonl": Reader(
            b'{"phase": "meta-train", "seconds": 1.5, "count": 10}\n',
            in_run(sound.results, "timings.jsonl"),
            lines=True,
        ),
        "mixtures.jsonl": Reader(
            (run / "mixtures.jsonl").read_bytes(),
            in_file("mixtures.jsonl", lambda path: read_mixtures(path.parent)),
            lines=True,
        ),
        "fits.jsonl": Reader(
            json.dumps(fit).encode(),
            in_file("fits.jsonl", lambda path: read_fits(path.parent)),
            lines=True,
        ),
        "tuning.json": Reader(
            tuning.model_dump_json().encode(),
            in_file("tuning.json", lambda path: read_tuning(path.parent)),
            lines=True,
        ),
        "plans": Reader(
            json.dumps({"runs": [plan]}).encode(),
            in_file(".plans/a.json", lambda path: [*read_plans(look_below(path.parents[1]))]),
            lines=True,
        ),
        "note": Reader(
            b'{"key": "x", "sent": {"loss": 3}}',
            in_file("trackers/csv.json", lambda path: read_note(path.parents[1], "csv")),
            lines=True,
        ),
        "checkpoint": Reader(state, in_file("x.safetensors", checkpoint.load)),
        "exported": Reader(exported, in_file("x.safetensors", read_trained)),
        "torch": Reader(
            saved(partial(torch.save, tensors), folder), in_file("x.pt", digest_of_foreign)
        ),
        "image": Reader(
            (sound.images / "class0" / "0.png").read_bytes(),
            lambda _, data: decode(data, "x.png", "RGB", own=True),
        ),
        "zip": Reader(archive("zip"), with_archive("x.zip")),
        "tar": Reader(archive(""), with_archive("x.tar")),
        "tar.gz": Reader(archive("gz"), with_archive("x.tar.gz")),
        "tar.xz": Reader(archive("xz"), with_archive("x.tar.xz")),
        "pickle": Reader(
            pickle.dumps({"data": np.zeros((2, 3)), "labels": [0, 1]}),
            with_originals("x.pkl", lambda originals: read_pickle(originals, "x.pkl")),
        ),
        "npy": Reader(an_array(), vectors("features.npy")),
        "labels.txt": Reader(b"a\na\nb\nb", vectors("labels.txt")),
        "images.csv": Reader(
            b"filename,label\nx.jpg,n01532829\n",
            with_originals("train.csv", miniimagenet.ARCHIVE.scan),
        ),
        "splits.csv": Reader(b"class,split\nclass0,train\n", in_file("splits.csv", split)),
        "splits.json": Reader(b'{"train": ["class0"], "val": []}', in_file("splits.json", split)),
        "splits.yaml": Reader(b"train: [class0]\n", in_file("splits.yaml", split)),
        "genotype": Reader(b'{"cell": [[0, 2, "skip"]]}', in_file("g.json", genotype), lines=True),
        "pack": Reader(
            (pack.folder / "index.json").read_bytes(),
            in_file("index.json", lambda path: read_pack(path.parent)),
        ),
    }


def damaged(reader: Reader) -> st.SearchStrategy[bytes]:
    """Bytes of all sorts, and what a reader takes with damage."""

    def line(rng: Random) -> bytes:
        lines = reader.sound.splitlines()
        at = 0 if reader.sound.startswith(b"{\n") else rng.randrange(len(lines))
        whole = reader.sound if reader.sound.startswith(b"{\n") else lines[at]
        value = edited(rng, json.loads(whole))
        if isinstance(value, dict) and "spec" in value:
            with suppress(ValueError):
                value["run_id"] = digest(value["spec"])
        again = json.dumps(value).encode()
        if whole is reader.sound:
            return again
        return b"\n".join([*lines[:at], again, *lines[at + 1 :]]) + b"\n"

    randoms = st.randoms(use_true_random=False)
    choices = [st.binary(max_size=300), randoms.map(lambda rng: broken(rng, reader.sound))]
    return st.one_of(*choices, *([randoms.map(line)] * 2 if reader.lines else []))


def fuzz(reader: Reader, home: Path, profile: settings) -> None:
    """Only errors of the project leave a reader."""
    reader.read(home, reader.sound)

    @profile
    @given(damaged(reader))
    def check(data: bytes) -> None:
        with suppress(MetabenchError):
            reader.read(home, data)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_an_error_of_the_project(name: str, sound: Sound, tmp_path: Path) -> None:
    found = readers(sound, tmp_path)
    assert {*found} == {*NAMES}
    (tmp_path / "home").mkdir()
    fuzz(found[name], tmp_path / "home", FEW)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_much_damage_is_an_error_of_the_project(name: str, sound: Sound, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    fuzz(readers(sound, tmp_path)[name], tmp_path / "home", MANY)
