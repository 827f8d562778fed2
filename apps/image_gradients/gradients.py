"""Gradients of a network's scores with respect to the picture.

Glossary of shapes: N batch, (H, W) picture, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

import minigrad as mg
import nn

N = TypeVar("N", bound=nn.Module)
R = TypeVar("R")
Of = Callable[[Any], Any]  # of scores (N, K), one number for each picture (N,)


# Pictures that are looked into at once: more take more memory, and no less time.
AT_ONCE = 5


Classes = Sequence[int] | np.ndarray | mg.Tensor


def in_parts(work: Callable[..., R], *arrays: np.ndarray) -> list[R]:
    """What the work gives for a few pictures at a time. Shapes: arrays (N, ...)."""
    starts = range(0, len(arrays[0]), AT_ONCE)
    return [work(*(a[start : start + AT_ONCE] for a in arrays)) for start in starts]


def frozen(network: N) -> N:
    """The network itself, with dropout off, and no gradients for its parameters."""
    for parameter in network.parameters():
        parameter.requires_grad = False
    network.eval()
    return network


def device_of(network: nn.Module) -> str:
    """The device that a network computes on."""
    return next(iter(network.parameters())).device


def scores_of(network: nn.Module, x: np.ndarray) -> np.ndarray:
    """The network's scores. Shapes: (N, 3, H, W) -> (N, K)."""
    with mg.no_grad():
        return network(mg.Tensor(x, device=device_of(network))).numpy()


def with_gradient(
    network: nn.Module, x: np.ndarray, of: Of
) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and the gradient of a number made of each picture's by its pixels.

    Pictures are differentiated side by side: none has a part in another's number, so
    the gradient of the numbers' sum holds that of each.
    Shapes: (N, 3, H, W) -> (N, K), (N, 3, H, W).
    """
    picture = mg.asarray(x).to(device_of(network))
    picture.requires_grad = True
    scores = network(picture)
    of(scores).sum().backward()
    assert picture.grad is not None
    return scores.numpy(), picture.grad.numpy()


def score_of(classes: Classes) -> Of:
    """Choose of each picture's scores that of its class, before any softmax."""
    chosen = _ids(classes)
    return lambda scores: scores[mg.arange(0, len(chosen), scores.device), chosen]


def lead_over_others(classes: Classes) -> Of:
    """By how much each picture's class is ahead of all others: its log-odds."""
    chosen = _ids(classes)

    def lead(scores: Any) -> Any:
        # The largest taken away first, no digits are lost to what all have in common.
        ahead = scores - mg.max(scores.detach(), axis=1, keepdims=True)
        others = mg.where(
            mg.one_hot(chosen.to(scores.device), scores.shape[1], bool), -np.inf, ahead
        )
        return score_of(chosen)(ahead) - mg.logsumexp(others, axis=1)

    return lead


def _ids(classes: Classes) -> mg.Tensor:
    return classes if isinstance(classes, mg.Tensor) else mg.asarray(np.array(classes))


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The softmax of scores. Shapes: (N, K) -> (N, K)."""
    return np.asarray(mg.softmax(scores, axis=1))


def unit(g: np.ndarray) -> np.ndarray:
    """Each picture's gradient as a direction, of length 1; none where it is 0."""
    length = np.linalg.norm(g.reshape(len(g), -1), axis=1)
    scale = np.where(length > 0, length, 1).reshape(-1, *[1] * (g.ndim - 1))
    return (g / scale).astype(g.dtype, copy=False)
