"""The Ray executor on a real Ray: a cluster of two nodes, and one of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from plugin_texts import maml_named_mine

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="the package ray is not installed")

SMALL = "--suite toy-regression --budget smoke --limit 2 --set network.width=4 --executor"
OF_WALL_TIME = {"run.json", "timings.jsonl", ".lock"}
"""Files of a run that differ each time."""
STAY_A_MINUTE = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Processes of an own Ray that the docs say outlive a killed command."""
PATIENCE = 120.0
"""Seconds in which anything must happen."""


def environment(**changes: str) -> dict[str, str]:
    names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    return {k: v for k, v in os.environ.items() if k not in names} | changes


def command(options: str) -> list[str]:
    return [sys.executable, "-m", "metabench", "run", *options.split()]


def ended(options: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that has ended, in time."""
    return subprocess.run(
        command(options),
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def running(options: str, folder: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command at work, which does not outlive the block."""
    run = subprocess.Popen(
        command(options),
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield run
    finally:
        run.terminate()
        run.communicate()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()[0] or "it ended before"
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a cluster of two nodes is found, each begun in a folder of its own.

    Each node lends one CPU.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = environment(
        RAY_ADDRESS=f"127.0.0.1:{port}",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_USAGE_STATS_ENABLED="0",
    )
    nodes = []
    with TemporaryDirectory(prefix="ray") as session:  # whose sockets must have short names
        head = f"--head --port={port} --temp-dir={session} --include-dashboard=false"
        for name, options in {"head": head, "other": f"--address=127.0.0.1:{port}"}.items():
            folder = tmp_path_factory.mktemp(name)
            log = folder / "log"
            ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
            with log.open("w") as file:
                node = subprocess.Popen(
                    [*ray, *options.split()],
                    cwd=folder,
                    env=found,
                    stdout=file,
                    stderr=file,
                    text=True,
                )
            nodes.append(node)
            wait_for(lambda log=log: "runtime started" in log.read_text(), node)  # type: ignore[misc]
        yield found
        for node in reversed(nodes):
            node.terminate()
            node.wait()


def command_line(process: int) -> str:
    """What a process calls itself; nothing if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def process_named(name: str) -> int | None:
    """The id of the process that calls itself so."""
    running_now = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return next((one for one in running_now if command_line(one).startswith(name)), None)


def results(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in OF_WALL_TIME
    }


def test_a_killed_worker_changes_no_byte(cluster: dict[str, str], tmp_path: Path) -> None:
    seed = 1 + secrets.randbelow(10**6)  # names the process
    options = (
        f"--learner maml,reptile --seed {seed} --set budget.meta_steps=400 --checkpoint-every 0.2"
    )
    with running(f"{options} {SMALL} ray --jobs 2 --out R", tmp_path, cluster) as run:
        wait_for(lambda: any(tmp_path.glob("R/*/maml/*/checkpoints/last.safetensors")), run)
        worker = process_named(f"ray::maml 10-shot seed {seed}")
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        said, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, said
    assert "its Ray worker died (WorkerCrashedError); it begins again" in said
    assert f"maml 10-shot seed {seed}: resumes at meta-step" in said
    subprocess.run(
        command(f"{options} {SMALL} local --out undisturbed"),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    expected = results(tmp_path / "undisturbed")
    assert len(expected) > 6
    assert results(tmp_path / "R") == expected


def test_one_run_at_a_time_on_a_larger_cluster(cluster: dict[str, str], tmp_path: Path) -> None:
    options = f"--learner reptile --seed 0..1 --set budget.meta_steps=2 {SMALL} ray --out R"
    ran = ended(options, tmp_path, cluster)
    assert ran.returncode == 0, ran.stderr
    ends = [line.split(": ")[-1] for line in ran.stderr.splitlines() if "meta-" not in line]
    assert [end for end in ends if end in ("started", "done")] == ["started", "done"] * 2


def test_a_relative_plugin_and_folder_are_those_of_the_command(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    """Workers begin in the folder in which their node was started, which is another one."""
    (tmp_path / "mine.py").write_text(maml_named_mine({}))
    options = f"--learner mine --set budget.meta_steps=2 {SMALL} ray --out R"
    ran = ended(f"--plugin mine.py {options}", tmp_path, cluster)
    assert ran.returncode == 0, ran.stderr
    assert '"status": "done"' in next(tmp_path.glob("R/*/mine/*/run.json")).read_text()
    missing = ended(f"--plugin absent.py {options}", tmp_path, cluster)
    assert missing.returncode == 2
    assert missing.stderr.startswith("Error: There is no plugin file 'absent.py'.")


def descendants(process: int) -> set[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found, left = set[int](), [process]
    while left:
        one = left.pop()
        found.add(one)
        left += [child for child, parent in parents.items() if parent == one]
    return found


def listening(processes: set[int]) -> set[str]:
    """The hexadecimal addresses, as Linux keeps them, at which processes listen."""
    links = set[str]()
    for process in processes:
        for path in Path(f"/proc/{process}/fd").glob("*"):
            try:
                links.add(str(path.readlink()))
            except OSError:  # it has just been closed
                continue
    found = set[str]()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *others = line.split()
            if state == "0A" and f"socket:[{others[5]}]" in links:
                found.add(local.partition(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_own_ray_listens_to_this_machine_alone_and_saves_at_sigterm(tmp_path: Path) -> None:
    options = f"--learner maml --set budget.meta_steps=1000000 {SMALL} ray --out R"
    with running(options, tmp_path, environment(HOME="/dev/null")) as run:
        wait_for(lambda: any(tmp_path.glob("R/*/maml/*/run.json")), run)
        addresses = listening(descendants(run.pid))
        run.terminate()
        said, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130, said
    assert "Runs: 1 interrupted." in said
    assert '"status": "interrupted"' in next(tmp_path.rglob("run.json")).read_text()
    loopback = "0100007F"
    assert addresses
    assert all(address.endswith(loopback) for address in addresses)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_own_ray_ends_after_a_killed_command_and_the_same_one_resumes(tmp_path: Path) -> None:
    options = f"--learner maml --set budget.meta_steps=3000 --checkpoint-every 0.2 {SMALL}"
    env = environment(HOME="/dev/null")
    with running(f"{options} ray --out R", tmp_path, env) as run:
        wait_for(lambda: any(tmp_path.glob("R/*/maml/*/checkpoints/last.safetensors")), run)
        own = descendants(run.pid)
        run.kill()
        run.wait()
    end = time.monotonic() + PATIENCE
    while left := {one: text for one in own if (text := command_line(one))}:
        assert time.monotonic() < end, left
        if all(text.startswith(STAY_A_MINUTE) for text in left.values()):
            break
        time.sleep(0.1)
    resumed = ended(f"{options} ray --out R", tmp_path, env)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumes at meta-step" in resumed.stderr
    while left := {one: text for one in own if (text := command_line(one))}:
        assert time.monotonic() < end, left  # a minute is said
        time.sleep(0.5)
