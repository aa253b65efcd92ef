"""Lets one system call of a command fail, or kills the command there, and gives it again.

A process with a preloaded shim (``fault_shim.c``) loads metabench once. For each case it forks: the
child gives the command with one fault armed, the next child gives the same command undisturbed.
Then the files must be those of a command that nothing disturbed, and no others.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

KINDS = ("open", "write", "rename", "fsync", "flock")
"""Kinds of system calls, in the order of the shim."""
_EACH = {"SIGKILL": -1, "SIGTERM": -3}
FAULTS: dict[str, dict[str, int]] = {
    "open": _EACH,
    "write": {**_EACH, "SIGKILL half-way": -2, "short": -4},
    "rename": {**_EACH, "SIGKILL after": -2},
    "fsync": _EACH,
    "flock": _EACH,
}
"""What the shim does at each kind of call, beside the errors of the system."""
_DISK = ("ENOSPC", "EIO", "EDQUOT")
ERRORS: dict[str, tuple[str, ...]] = {
    "open": (*_DISK, "EMFILE", "EACCES"),
    "write": (*_DISK, "EACCES"),
    "rename": (*_DISK, "EACCES"),
    "fsync": _DISK,
    "flock": ("ENOLCK", "EIO"),
}
"""The errors of the system at each kind of call; they take turns from one call to the next."""

LONGEST = 60
"""Seconds after which a command hangs."""
_VOLATILE = {"started", "peak_memory_mib"}
"""Fields of a run's provenance that differ between two equal runs."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one call of one command.

    Attributes:
        command: its name, of :data:`COMMANDS`.
        kind: of the system call.
        at: the number of the call among its kind.
        fault: what happens there.
        onwards: the same happens at every later call of the kind: a disk that stays full.
    """

    command: str
    kind: str
    at: int
    fault: str
    onwards: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended: ``wrong`` says what does not hold, and is empty where all does."""

    case: Case
    wrong: str


def every_case(command: str, counts: Sequence[int]) -> Iterator[Case]:
    """All points of a command, of which these numbers of calls were counted."""
    for kind, n in zip(KINDS, counts, strict=True):
        for at in range(1, n + 1):
            for fault in FAULTS[kind]:
                yield Case(command, kind, at, fault)
            yield Case(command, kind, at, ERRORS[kind][at % len(ERRORS[kind])])
            if kind == "write":
                yield Case(command, kind, at, "ENOSPC", onwards=True)


def some(cases: Sequence[Case], n: int) -> list[Case]:
    """Cases spread over commands, kinds and faults: commands take turns, and so do the others."""
    seen = Counter[tuple[Any, ...]]()
    order: list[tuple[int, int, Case]] = []
    for case in random.Random(0).sample(cases, len(cases)):
        group = (case.command, case.kind, case.fault, case.onwards)
        turn = seen[group]
        seen[group] += 1
        seen[case.command, turn] += 1
        order.append((turn, seen[case.command, turn], case))
    return [case for *_, case in sorted(order, key=lambda one: one[:2])[:n]]


def build_shim(folder: Path) -> Path:
    """Compile the shim; skip the test where that cannot be done."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the shim needs Linux and a C compiler")
    shim = folder / "fault_shim.so"
    source = Path(__file__).with_name("fault_shim.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return shim


def try_faults(folder: Path, *, most: int | None, commands: Sequence[str]) -> list[Result]:
    """Try points of commands in a process of its own.

    Args:
        folder: to work in.
        most: how many points, spread over all; None for every one.
        commands: names.
    """
    shim = build_shim(folder)
    path = folder / "results.jsonl"
    arguments = [str(shim), str(folder), str(path), str(most or 0), *commands]
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    found = map(json.loads, path.read_text().splitlines())
    return [Result(Case(**one["case"]), one["wrong"]) for one in found]


def table(results: Sequence[Result]) -> str:
    """How many points of each class were tried, and at how many the promises held."""
    tried, held = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for result in results:
        case = result.case
        group = (case.command, case.kind, case.fault + " onwards" * case.onwards)
        tried[group] += 1
        held[group] += not result.wrong
    lines = [f"{'command':8} {'call':7} {'fault':16} {'tried':>6} {'held':>6}"]
    for group, n in sorted(tried.items()):
        command, kind, fault = group
        lines.append(f"{command:8} {kind:7} {fault:16} {n:6} {held[group]:6}")
    lines.append(f"{'in all':33} {tried.total():6} {held.total():6}")
    return "\n".join(lines)


# In the process with the shim ---------------------------------------------------------------------


def run_command(place: Path) -> list[str]:
    """A training with checkpoints and meta-validation, a meta-test and a further evaluation."""
    size = ["--set", "budget.meta_steps=4", "--set", "network.width=4"]
    return ["run", "--learner", "maml", "--suite", "toy-regression", *_SMALL, *size, *_into(place)]


def search_command(place: Path) -> list[str]:
    """A search and the training after it, with genotypes and task embeddings."""
    searching = ["--learner", "mnas", "--network", "toy-cell"]
    shorter = ["--set", "budget.meta_steps=2"]
    return ["run", *searching, "--suite", "toy-regression", *_SMALL, *shorter, *_into(place)]


def plan_command(place: Path) -> list[str]:
    """Two runs without training, of which there is a plan while they are made."""
    runs = ["--learner", "support-mean", "--seed", "0,1", "--suite", "toy-regression"]
    return ["run", *runs, "--budget", "smoke", "--set", "protocol.episodes=2", *_into(place)]


def import_command(place: Path) -> list[str]:
    """The import of a folder of images into the data root."""
    images = place.with_name("images")
    if not images.exists():
        _draw_images(images)
    return ["data", "import", "image-folder", str(images), "--name", "mine", "--size", "8"]


_SMALL = (
    *("--budget", "smoke", "--device", "cpu", "--checkpoint-every", "0"),
    *("--set", "budget.meta_batch=1", "--set", "budget.val_every=2"),
    *("--set", "protocol.selection=meta-val"),
    *("--set", "protocol.episodes=2", "--set", "protocol.val_episodes=2"),
)  # fmt: skip


def _into(place: Path) -> list[str]:
    return ["--out", str(place / "results")]


def _draw_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("one", "two", "three", "four"):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "run": run_command,
    "search": search_command,
    "plan": plan_command,
    "import": import_command,
}
"""The arguments of each command, which writes below a folder."""


class _Bench:
    """Forks a child for each command.

    Args:
        shim: the preloaded library.
        folder: to work in.
    """

    def __init__(self, shim: str, folder: Path) -> None:
        self._shim = ctypes.CDLL(shim)
        self._shim.fault_count.restype = ctypes.c_long
        self._place = folder / "place"
        self._output = folder / "output.txt"
        self._counted = folder / "counts.json"
        self._undisturbed: dict[str, dict[str, Any]] = {}

    def count(self, command: str) -> list[int]:
        """Give a command undisturbed, keep what it writes, and count its calls."""
        self._empty()
        code = self._give(command, None)
        assert code == 0, self._said()
        self._undisturbed[command] = files_of(self._place)
        counts: list[int] = json.loads(self._counted.read_text())
        return counts

    def attempt(self, case: Case) -> Result:
        """Give a command with a fault, and again without."""
        self._empty()
        try:
            return Result(case, self._attempt(case))
        except Exception:
            return Result(case, traceback.format_exc())

    def _attempt(self, case: Case) -> str:
        code = self._give(case.command, case)
        said = self._said()
        wanted = self._undisturbed[case.command]
        if "Traceback" in said or code == -signal.SIGALRM:
            return f"ended with {code}:\n{said}"
        if code == 0:
            if wrong := _difference(files_of(self._place), wanted):
                return f"ended with 0, but {wrong}"
        elif code > 0 and code != 130 and not _explains(said, self._place):
            return f"ended with {code} and no sentence with path and hint:\n{said}"
        if case.fault == "short" and code:
            return f"ended with {code} after a short write:\n{said}"
        again = self._give(case.command, None)
        if again or "Traceback" in self._said():
            return f"ended with {code}:\n{said}\nand then with {again}:\n{self._said()}"
        wrong = _difference(files_of(self._place), wanted)
        return wrong and f"ended with {code}, and then {wrong}:\n{said}\n{self._said()}"

    def _empty(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()

    def _said(self) -> str:
        return self._output.read_text(errors="replace")

    def _give(self, command: str, case: Case | None) -> int:
        """Give a command in a child; return its exit code, or minus the signal that ended it."""
        pid = os.fork()
        if not pid:
            self._be_child(COMMANDS[command](self._place), case)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _be_child(self, arguments: list[str], case: Case | None) -> None:
        code = 99
        try:
            output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(output, stream)
            signal.alarm(LONGEST)
            self._arm(case)
            code = give(arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            counts = [self._shim.fault_count(kind) for kind in range(len(KINDS))]
            self._counted.write_text(json.dumps(counts))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _arm(self, case: Case | None) -> None:
        below = os.fsencode(self._place)
        if case is None:
            self._shim.fault_arm(below, -1, ctypes.c_long(0), 0, 0)
            return
        what = FAULTS[case.kind].get(case.fault) or getattr(errno, case.fault)
        at = ctypes.c_long(case.at)
        self._shim.fault_arm(below, KINDS.index(case.kind), at, what, int(case.onwards))


def give(arguments: list[str]) -> int:
    """Give a command in this process."""
    from metabench.__main__ import main

    sys.argv = ["metabench", *arguments]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def files_of(folder: Path) -> dict[str, Any]:
    """What all files below a folder hold, but for times and memory."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def _content(path: Path) -> Any:
    if path.name == "timings.jsonl":
        return "times"
    if path.name == "run.json":
        record = json.loads(path.read_text())
        made_with = record["provenance"]
        record["provenance"] = {k: v for k, v in made_with.items() if k not in _VOLATILE}
        return record | {"train_seconds": None}
    return path.read_bytes()


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first difference between two trees, in words; empty for none."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is left"
        if found[name] != wanted[name]:
            if isinstance(found[name], dict):
                for field in found[name].keys() | wanted[name].keys():
                    values = [tree[name].get(field) for tree in (found, wanted)]
                    if values[0] != values[1]:
                        return f"{field} in {name} is {values[0]!r}, not {values[1]!r}"
            return f"{name} differs"
    return ""


def _explains(said: str, place: Path) -> bool:
    """Whether a failure is told of in a sentence with a path, and then in a hint."""
    lines = said.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(("Error: ", "Failed: ")) and str(place) in line:
            return bool(following) and not following.startswith(("Runs:", "Error:", "Failed:"))
    return False


def main() -> None:
    """Try points, and write down how they ended."""
    shim, folder, path, most, *commands = sys.argv[1:]
    os.environ["METABENCH_DATA"] = str(Path(folder) / "place" / "data")
    bench = _Bench(shim, Path(folder))
    with tempfile.TemporaryDirectory() as warm:  # loads all that the children need
        for command in commands:
            data, os.environ["METABENCH_DATA"] = os.environ["METABENCH_DATA"], warm
            code = give(COMMANDS[command](Path(warm, command)))
            os.environ["METABENCH_DATA"] = data
            assert code == 0, f"{command} ended with {code}"
    cases = [case for command in commands for case in every_case(command, bench.count(command))]
    if int(most):
        cases = some(cases, int(most))
    with Path(path).open("w") as results:  # line by line, so that one can look on
        for case in cases:
            results.write(json.dumps(asdict(bench.attempt(case))) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
