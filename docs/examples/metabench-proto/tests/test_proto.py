"""The contract, check by check, and the equations by hand."""

import pytest
import torch
from metabench import conformance

from metabench_proto import PROTO
from metabench_proto.learner import class_means, squared_distances


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
