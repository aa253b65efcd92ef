"""The contract, check by check, and the equations by hand."""

from pathlib import Path

import pytest
import torch
from metabench import FileParam, UsageError, conformance

from metabench_proto import PROTO
from metabench_proto.learner import ProtoParams, class_means, squared_distances, weights_in


@pytest.mark.parametrize("check", conformance.checks(PROTO), ids=str)
def test_contract(check: conformance.Check) -> None:
    check()


def test_class_means() -> None:
    embeddings = torch.tensor([[[0.0, 0.0], [2.0, 4.0], [5.0, 5.0]]])
    means = class_means(embeddings, torch.tensor([[0, 0, 1]]), ways=2)
    assert means.tolist() == [[[1.0, 2.0], [5.0, 5.0]]]


def test_squared_distances() -> None:
    points, means = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    assert squared_distances(points, means).tolist() == [[[25.0, 1.0]]]


def test_start_weights_come_from_a_file(tmp_path: Path) -> None:
    file, weights = tmp_path / "start.pt", {"head.weight": torch.eye(2)}
    torch.save(weights, file)
    start = ProtoParams.model_validate({"start": str(file)}).start
    assert isinstance(start, FileParam)
    assert torch.equal(weights_in(start, like=weights)["head.weight"], torch.eye(2))
    with pytest.raises(UsageError, match="start.pt are not those of this network"):
        weights_in(start, like={"head.weight": torch.ones(3)})
