"""The built-in metrics: each maps outputs ``[tasks, q, outputs]`` and ``y`` to ``[tasks]``.

In classification, outputs are logits, ``y [tasks, q]`` are class indices, and the predicted
probabilities are the softmax ``p`` of the logits:

- accuracy is the share of queries with ``argmax p = y``;
- ``nll`` is the mean of ``-log p_y``, in nats;
- ``ece`` is the expected calibration error of Guo et al. (2017), equation 3: a query's confidence
  is ``max p``; the queries of a task are put into M = 15 bins of equal width by their confidence,
  bin m being ``((m-1)/M, m/M]``; the error is the mean over queries of the absolute difference of
  mean accuracy and mean confidence of a bin, ``sum_m |B_m|/q |acc(B_m) - conf(B_m)|``.

In regression, ``mse`` is the mean of the squared error over queries and targets.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

BINS = 15
"""Bins of the calibration error: the number of Guo et al. (2017), section 5."""


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """The share of queries whose largest logit is that of their class, in [0, 1]."""
    return (outputs.argmax(dim=-1) == y).to(outputs.dtype).mean(dim=1)


def mean_squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean of the squared errors over queries and targets, in the squared unit of ``y``."""
    return (outputs - y).square().mean(dim=(1, 2))


def negative_log_likelihood(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over queries of minus the log of the probability of their class, in nats."""
    of_class = outputs.log_softmax(dim=-1).gather(2, y.unsqueeze(2)).squeeze(2)
    return -of_class.mean(dim=1)


def expected_calibration_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The calibration error over :data:`BINS` bins of the queries of each task, in [0, 1]."""
    confidence, predicted = outputs.softmax(dim=-1).max(dim=-1)
    gap = (predicted == y).to(outputs.dtype) - confidence  # [tasks, q]
    bins = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
    members = functional.one_hot(bins, BINS).to(outputs.dtype)  # [tasks, q, bins]
    # |B_m| |acc(B_m) - conf(B_m)| is the absolute sum of a bin's gaps.
    return (gap.unsqueeze(1) @ members).abs().sum(dim=(1, 2)) / y.shape[1]
