import math

import pytest
import torch

from metabench.nn.losses import task_losses
from metabench.nn.scores import task_scores

LOGITS = torch.tensor([[[0.0, 0.0], [math.log(3.0), 0.0]]], dtype=torch.float64)  # 1 task, 2 rows
LABELS = torch.tensor([[0, 1]])


def test_cross_entropies_in_closed_form() -> None:
    summed = math.log(2.0) + math.log(4.0)
    for reduction, divisor in (("mean", 2), ("per_shot", 3)):
        loss = task_losses(LOGITS, LABELS, kind="classification", reduction=reduction, shots=3)  # type: ignore[arg-type]
        assert loss.tolist() == pytest.approx([summed / divisor])


def test_per_shot_is_ways_times_the_mean_on_a_support_set() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 5 * 3, 5, dtype=torch.float64)
    y = torch.arange(5).repeat(4, 3)
    per_shot = task_losses(logits, y, kind="classification", reduction="per_shot", shots=3)
    mean = task_losses(logits, y, kind="classification", reduction="mean", shots=3)
    assert torch.allclose(per_shot, 5 * mean, rtol=1e-14)


def test_squared_errors_are_means_per_task() -> None:
    outputs, y = torch.tensor([[[1.0], [3.0]], [[0.0], [0.0]]]), torch.zeros(2, 2, 1)
    losses = task_losses(outputs, y, kind="regression", reduction="per_shot", shots=7)
    assert losses.tolist() == [5.0, 0.0]
    assert task_scores(outputs, y, metric="mse").tolist() == [5.0, 0.0]


def test_accuracy_counts_rows() -> None:
    assert task_scores(LOGITS, LABELS, metric="accuracy").tolist() == [0.5]
