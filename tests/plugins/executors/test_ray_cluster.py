"""A connection to Ray: what is asked of it, and what goes wrong in a sentence."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_stand_in import AuthenticationError, Ray

from metabench.errors import UsageError
from metabench_plugins.executors import ray_cluster
from metabench_plugins.executors.on_ray import RayExecutor, RayParams
from metabench_plugins.executors.ray_cluster import connected


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    stand_in = Ray()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return stand_in


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def refused() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def not_imported(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As at the start of a program, which has not imported Ray."""
    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: ray)
    ray_cluster._private.cache_clear()
    yield
    ray_cluster._private.cache_clear()


@pytest.mark.usefixtures("not_imported")
def test_an_own_ray_is_private_and_ends(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    with connected(cpus=3) as cluster:
        assert cluster.own
        assert os.environ["RAY_AUTH_MODE"] == "token"
        token = os.environ["RAY_AUTH_TOKEN"]
        assert len(token) == 64
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    (options,) = ray.inits
    assert options["address"] == "local"  # not one that runs on this machine
    assert options["num_cpus"] == 3
    assert not options["include_dashboard"]
    assert not ray.connected
    assert dict(os.environ) == before
    monkeypatch.setitem(sys.modules, "ray", ray)
    with connected(cpus=3):
        assert os.environ["RAY_AUTH_TOKEN"] == token  # which Ray has read at its import


@pytest.mark.usefixtures("not_imported")
def test_a_user_may_do_without_a_token(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with connected(cpus=1):
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert len(ray.inits) == 1


def test_settings_that_ray_has_read_are_left_alone(ray: Ray) -> None:
    ray_cluster._private.cache_clear()
    with connected(cpus=1) as cluster:
        assert cluster.own
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert len(ray.inits) == 1


def test_a_cluster_is_joined(ray: Ray, listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", listening)
    with connected(cpus=3) as cluster:
        assert not cluster.own
        assert "RAY_AUTH_TOKEN" not in os.environ
    (options,) = ray.inits
    assert options["address"] == listening
    assert "num_cpus" not in options


def test_a_connection_of_the_program_is_used_and_stays(ray: Ray) -> None:
    ray.init()
    with connected(cpus=1) as cluster:
        assert not cluster.own
    assert ray.connected
    assert len(ray.inits) == 1


def test_signals_keep_their_handlers(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    with connected(cpus=1):
        assert signal.getsignal(signal.SIGTERM) is before


def test_an_address_that_does_not_answer(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    address = refused()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match=f"Cannot connect to the Ray cluster at {address}"):
        connected(cpus=1).__enter__()
    assert ray.inits == []  # which would ask for minutes


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_a_client_address(ray: Ray, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match="on a machine of the cluster"):
        connected(cpus=1).__enter__()
    assert ray.inits == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AuthenticationError("no token"), "A token is missing or wrong"),
        (RuntimeError("Version mismatch: 1 and 2\nmany lines"), "Version mismatch: 1 and 2$"),
        (ValueError(), "names: ValueError$"),
    ],
)
def test_a_cluster_that_refuses(
    ray: Ray,
    listening: str,
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", listening)
    with pytest.raises(UsageError, match=sentence) as caught:
        connected(cpus=1).__enter__()
    assert "RAY_AUTH_TOKEN" in caught.value.hint


def test_a_ray_that_does_not_start(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise PermissionError("/home is read-only")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UsageError, match="cannot be started on this machine: /home is read-only"):
        connected(cpus=1).__enter__()


def test_without_ray_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs the package ray") as caught:
        connected(cpus=1).__enter__()
    assert "metabench[ray]" in caught.value.hint


def test_the_executor_imports_ray_only_when_its_own_ray_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray reads its environment at its import, so one before it would leave the token to Ray."""
    (tmp_path / "ray.py").write_text("raise RuntimeError('imported too early')\n")
    monkeypatch.syspath_prepend(tmp_path)  # type: ignore[no-untyped-call]
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    RayExecutor(RayParams())
    assert "ray" not in sys.modules
