"""How wrong is the model? Losses of scores, sequences of scores, and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from nn.checks import array_of, check_shape, integer_array


def cross_entropy(scores: Any, targets: Any, reduction: str = "mean") -> Any:
    """Give the negative log-likelihood of the targets under softmax(scores).

    Shapes: scores (N, C), targets (N,) integers below C; output () for reduction
    "mean" or "sum", (N,) for "none".
    Raises: TypeError for targets that are no integers; ValueError for wrong shapes,
    targets out of range, or an unknown reduction.
    """
    check_shape("cross_entropy", "scores", scores, ("N", "C"), "Flatten other axes.")
    way_out = "Give one class for each row of scores (not one-hot rows)."
    check_shape("cross_entropy", "targets", targets, scores.shape[:1], way_out)
    ids = integer_array("cross_entropy", "targets", targets, below=scores.shape[1])
    return _reduce("cross_entropy", _negative_log_likelihood(scores, ids), reduction)


def temporal_softmax_loss(scores: Any, targets: Any, mask: Any) -> Any:
    """Give the cross-entropy summed over the unmasked time steps, divided by N.

    Shapes: scores (N, T, V), targets (N, T) integers below V, mask (N, T) booleans;
    output (). Targets under a False mask are not looked at.
    Raises: TypeError for targets that are no integers or a mask that is not boolean;
    ValueError for wrong shapes or targets out of range.
    """
    layer = "temporal_softmax_loss"
    check_shape(layer, "scores", scores, ("N", "T", "V"), "Give one score per word.")
    N, T, V = scores.shape
    way_out = "Give one entry for each sequence and time step of scores."
    check_shape(layer, "targets", targets, (N, T), way_out)
    check_shape(layer, "mask", mask, (N, T), way_out)
    mask = _boolean(layer, array_of(mask))
    # An integer product, unlike `where`, needs no array library of its own.
    ids = integer_array(layer, "targets", array_of(targets) * mask, below=V)
    losses = _negative_log_likelihood(scores.reshape(N * T, V), ids.reshape(-1))
    return mg.sum(losses * mask.reshape(-1).astype(losses.dtype)) / N


def mse_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """Give the squared differences' mean.

    Shapes: predictions and targets alike; output () for reduction "mean" or "sum",
    their shape for "none".
    Raises: ValueError where the shapes differ, or for an unknown reduction.
    """
    targets = _same_shape("mse_loss", "predictions", predictions, targets)
    difference = predictions - targets
    return _reduce("mse_loss", difference * difference, reduction)


def bce_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """Give the binary cross-entropy of targets under sigmoid(logits), stably.

    `-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)) = softplus(x) - t x`, which
    neither overflows nor takes the logarithm of 0 for any x.

    Shapes: logits and targets (numbers from 0 to 1) alike; output () for reduction
    "mean" or "sum", their shape for "none".
    Raises: ValueError where the shapes differ, or for an unknown reduction.
    """
    targets = _same_shape("bce_with_logits", "logits", logits, targets)
    losses = mg.softplus(logits) - targets * logits
    return _reduce("bce_with_logits", losses, reduction)


def _negative_log_likelihood(scores: Any, ids: Any) -> Any:
    """`-log softmax(scores)[n, ids[n]]` for every row n."""
    rows = np.arange(scores.shape[0], like=ids)  # on the device the ids are on
    # Looked up first: backward comes to it last, and adds to the scores' gradient.
    chosen = scores[rows, ids]
    return mg.logsumexp(scores, axis=1) - chosen


def _reduce(layer: str, losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        return mg.mean(losses)
    if reduction == "sum":
        return mg.sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(
        f"{layer}: reduction {reduction!r} is unknown. Give 'mean', 'sum' or 'none'."
    )


def _same_shape(layer: str, name: str, values: Any, targets: Any) -> Any:
    """Targets of the shape of the values; whole numbers and bools in their dtype."""
    way_out = f"Reshape one to the other: broadcasting would pair all {name} with all "
    check_shape(layer, "targets", targets, values.shape, way_out + "targets.")
    if isinstance(targets, mg.Tensor) and targets.dtype.kind == "f":
        return targets
    array = array_of(targets)
    return array if array.dtype.kind == "f" else array.astype(values.dtype)


def _boolean(layer: str, mask: Any) -> Any:
    if mask.dtype.kind == "b":
        return mask
    raise TypeError(
        f"{layer}: mask has dtype {mask.dtype}, but it says which steps count and so "
        "must be boolean. Make one with a comparison, as in mask = targets != null_id."
    )
