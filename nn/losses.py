"""Losses of scores, of sequences of scores, and of numbers.

Losses of float16 and of integers are computed in float32 or wider; those of float16
are given back in float16.
"""

from typing import Any

import minigrad as mg
from minigrad.ops.losses import binary_cross_entropy, negative_log_likelihood
from minigrad.ops.sources import beside
from nn.checks import array_of, check_boolean, check_ids, check_shapes, integer_array
from nn.dtypes import floats, narrow, wide


def cross_entropy(scores: Any, targets: Any, reduction: str = "mean") -> Any:
    """Give the negative log-likelihood of the targets under softmax(scores).

    Shapes: scores (N, C), targets (N,) integers below C; output () for reduction
    "mean" or "sum", (N,) for "none".
    Raises: TypeError for targets that are no integers; ValueError for wrong shapes,
    targets out of range, or an unknown reduction.
    """
    layer = "cross_entropy"
    (scores,) = floats(layer, "scores (N, C)", scores)
    ids = integer_array(layer, "targets", targets)
    check_shapes(layer, "scores (N, C), targets (N,)", scores, ids)
    check_ids(layer, "targets", ids, below=scores.shape[1])
    return _reduce(layer, _nll(scores, ids), reduction, scores)


def temporal_softmax_loss(scores: Any, targets: Any, mask: Any) -> Any:
    """Give the cross-entropy summed over the unmasked time steps, divided by N.

    Shapes: scores (N, T, V), targets (N, T) integers below V, mask (N, T) booleans;
    output (). Scores and targets under a False mask do not count.
    Raises: TypeError for targets that are no integers or a mask that is not boolean;
    ValueError for wrong shapes or targets out of range.
    """
    layer = "temporal_softmax_loss"
    (scores,) = floats(layer, "scores (N, T, V)", scores)
    N, T, V = scores.shape
    ids, mask = integer_array(layer, "targets", targets), array_of(mask)
    shapes = "scores (N, T, V), targets (N, T), mask (N, T)"
    check_shapes(layer, shapes, scores, ids, mask)
    check_boolean(layer, mask, "a step counts", "targets != null_id")
    ids = mg.astype(ids, dtype="int64")
    check_ids(layer, "targets", mg.where(mask, ids, 0), below=V)
    counted = mg.where(mask, ids, -1)  # -1: a step does not count
    losses = _nll(scores.reshape((N * T, V)), mg.reshape(counted, (N * T,)))
    return narrow(mg.sum(losses) / N, scores)


def mse_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """Give the mean of the squared differences.

    Shapes: predictions and targets alike; output () for reduction "mean" or "sum",
    their shape for "none".
    Raises: ValueError where the shapes differ, or for an unknown reduction.
    """
    values, targets = _pair("mse_loss", "predictions", predictions, targets)
    difference = wide(values) - wide(targets)
    return _reduce("mse_loss", difference * difference, reduction, values, targets)


def bce_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """Give the binary cross-entropy of targets under sigmoid(logits), stably.

    It is `-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x))`, without the logarithm of 0
    for large x.

    Shapes and errors: as `mse_loss`; targets are numbers from 0 to 1.
    """
    values, targets = _pair("bce_with_logits", "logits", logits, targets)
    losses = binary_cross_entropy(wide(values), wide(targets))
    return _reduce("bce_with_logits", losses, reduction, values, targets)


def _nll(scores: Any, ids: Any) -> Any:
    """`-log softmax(scores)[n, ids[n]]` for every row n, 0 where the id is negative."""
    return negative_log_likelihood(scores, beside(ids, array_of(scores)))


def _reduce(layer: str, losses: Any, reduction: str, *operands: Any) -> Any:
    """Reduce losses, in the dtype of the operands."""
    reductions = {"mean": mg.mean, "sum": mg.sum, "none": lambda losses: losses}
    if not isinstance(reduction, str) or reduction not in reductions:
        raise ValueError(
            f"{layer}: reduction is {reduction!r}. Give 'mean', 'sum' or 'none'."
        )
    return narrow(reductions[reduction](losses), *operands)


def _pair(layer: str, name: str, values: Any, targets: Any) -> list[Any]:
    """Two arrays of floats that have one shape: broadcast, all pair with all."""
    values, targets = floats(layer, f"{name} (...), targets (...)", values, targets)
    if values.shape != targets.shape:
        raise ValueError(
            f"{layer}: targets has shape {targets.shape}, {name} {values.shape}. "
            "Reshape one to the other."
        )
    return [values, targets]
