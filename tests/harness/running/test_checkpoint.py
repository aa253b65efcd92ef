import errno
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from full_disk import full_disk

from metabench.errors import DataError, PluginError
from metabench.running import checkpoint


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(6.0).view(2, 3)
    state = {
        "weights": {"a": shared, "b": shared.t(), "empty": torch.zeros(0)},
        "adam": {0: {"step": torch.tensor(3.0)}, 1: {}},
        "list": [1, 2.5, None, True, "tensor:0", (1, [torch.tensor(7)])],
        "half": torch.tensor([1.0], dtype=torch.float64),
        "shape": shared.shape,
    }
    path = tmp_path / "deep" / "state.safetensors"
    checkpoint.save(path, state)
    loaded = checkpoint.load(path)
    assert loaded.keys() == state.keys()
    assert torch.equal(loaded["weights"]["a"], shared)
    assert torch.equal(loaded["weights"]["b"], shared.t())
    assert loaded["adam"][0]["step"] == 3.0
    assert loaded["adam"][1] == {}
    assert loaded["list"][:5] == [1, 2.5, None, True, "tensor:0"]
    assert loaded["list"][5] == (1, [torch.tensor(7)])
    assert loaded["half"].dtype == torch.float64
    assert loaded["shape"] == shared.shape


class Moments(NamedTuple):
    mean: torch.Tensor


def test_a_named_tuple_is_refused_since_its_names_would_be_lost(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="holds a Moments at adam"):
        checkpoint.save(tmp_path / "state", {"adam": Moments(torch.zeros(1))})


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"step": 1})
    with pytest.raises(PluginError, match="holds a object"):
        checkpoint.save(path, {"step": 2, "what": object()})
    assert checkpoint.load(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_full_disk_is_an_error_of_the_system_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"step": 1})
    with full_disk(1000), pytest.raises(OSError, match="File too large") as caught:
        checkpoint.save(path, {"step": torch.zeros(10_000)})
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert checkpoint.load(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"w": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"state\.safetensors is damaged"):
        checkpoint.load(path)
