"""What torchrun says, and which device a process has."""

from __future__ import annotations

import pytest
import torch

from metabench.errors import UsageError
from metabench.running.ranks.executor import check_devices, own_device
from metabench.running.ranks.torchrun import World, world_of

SAID = {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}


def test_the_environment_of_torchrun_is_read() -> None:
    assert world_of(SAID) == World(rank=5, local_rank=1, count=8)


@pytest.mark.parametrize("changes", [{"WORLD_SIZE": "1", "RANK": "0"}, {}])
def test_a_process_alone_is_none_of_several(changes: dict[str, str]) -> None:
    """Other launchers set RANK as well, but do not start this program as torchrun does."""
    said = {**SAID, **changes}
    if not changes:
        del said["TORCHELASTIC_RUN_ID"]
    assert world_of(said) is None


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [own_device("cuda:1", rank) for rank in range(2)] == ["cuda:1", "cuda:2"]
    check_devices("cpu", 16)
    check_devices("cuda", 3)
    check_devices("cuda:1", 2)
    with pytest.raises(UsageError, match="there are 3 GPUs") as caught:
        check_devices("cuda:1", 3)
    assert "--ranks 2 or fewer" in caught.value.hint
