"""Single paths of the engine that are timed against an earlier commit.

They run in whatever tree is imported: what that tree does not have is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
import nn.functional as F

Path = Callable[[], Any]
RNG = np.random.default_rng(0)


def leaf(*shape: int) -> mg.Tensor:
    """Return normal numbers that are to be differentiated by."""
    return mg.Tensor(RNG.standard_normal(shape, "float32"), requires_grad=True)


def gradient(f: Callable[..., Any], *leaves: mg.Tensor) -> Path:
    """Return a step: f forward, and back with ones from its result."""
    ones = np.ones(f(*leaves).shape, "float32")

    def step() -> None:
        for x in leaves:
            x.grad = None
        f(*leaves).backward(ones)

    return step


def squares(x: Any) -> Any:
    """Return a function of 30 operations, most of them tiny work."""
    for _ in range(10):
        x = mg.tanh(x * x + x)
    return mg.sum(x)


def saliency(trainable: bool) -> Path:
    """Return the gradient of a small network by its input, weights in the closure."""
    W = [leaf(512, 512) if trainable else leaf(512, 512).detach() for _ in range(3)]
    x = RNG.standard_normal((64, 512), "float32")

    def score(x: Any) -> Any:
        for w in W:
            x = mg.relu(x @ w)
        return mg.sum(x)

    return lambda: mg.value_and_grad(score)(x)


def nothing_recorded() -> None:
    """Enter a scope and leave it."""
    with mg.no_grad():
        pass


def losses() -> dict[str, Path]:
    """Return the losses of sequences as the captioner sees them."""
    targets = RNG.integers(0, 1004, (25, 16))
    mask = RNG.random((25, 16)) < 0.7
    targets[~mask] = 0

    def captions(scores: Any) -> Any:
        return F.temporal_softmax_loss(scores, targets, mask)

    return {
        "temporal_softmax_loss (25, 16, 1004)": gradient(captions, leaf(25, 16, 1004)),
        "cross_entropy (128, 10)": gradient(
            lambda x: F.cross_entropy(x, RNG.integers(0, 10, 128)), leaf(128, 10)
        ),
        "layer_norm (1376, 128)": gradient(
            lambda x, a, b: F.layer_norm(x, a, b),
            leaf(1376, 128),
            leaf(128),
            leaf(128),
        ),
    }


def all_paths() -> dict[str, Path]:
    """Return every path by its name."""
    x, y = leaf(400, 1004), leaf(1)
    image = leaf(5, 64, 55, 55)
    mask = RNG.random((400, 1004)) < 0.5
    vector = RNG.standard_normal(20, "float32")
    return {
        "add of one number": gradient(lambda y: y + y, y),
        "relu of one number": gradient(mg.relu, y),
        "sigmoid (400, 1004)": gradient(mg.sigmoid, x),
        "relu (400, 1004)": gradient(mg.relu, x),
        "where (400, 1004)": gradient(lambda x: mg.where(mask, x, 0.0), x),
        "clip (400, 1004)": gradient(lambda x: mg.clip(x, -1, 1), x),
        "dropout (400, 1004)": gradient(lambda x: mg.dropout(x, 0.5), x),
        "sum, first axis (400, 1004)": gradient(lambda x: mg.sum(x, axis=0), x),
        "bias (400, 1004)": gradient(lambda x, b: x + b, x, leaf(1004)),
        "bias (2048, 1004)": gradient(lambda x, b: x + b, leaf(2048, 1004), leaf(1004)),
        "mean (400, 1004)": gradient(lambda x: mg.mean(x), x),
        "max, last axis (400, 1004)": gradient(lambda x: mg.max(x, axis=1), x),
        "logsumexp (400, 1004)": gradient(lambda x: mg.logsumexp(x, axis=1), x),
        "softmax (400, 1004)": gradient(lambda x: mg.softmax(x), x),
        "max_pool2d (5, 64, 55, 55)": gradient(
            lambda x: mg.max_pool2d(x, size=(3, 3), stride=(2, 2)), image
        ),
        "conv2d_relu (5, 64, 55, 55)": gradient(
            mg.conv2d_relu, image, leaf(64, 64, 3, 3), leaf(64)
        ),
        "embedding of 400": gradient(
            lambda t: mg.take(t, RNG.integers(0, 1004, 400)), leaf(1004, 256)
        ),
        "value_and_grad of 30 small operations": lambda: mg.value_and_grad(squares)(
            vector
        ),
        "value_and_grad, constant weights": saliency(trainable=False),
        "value_and_grad, trainable weights": saliency(trainable=True),
        "hvp of 30 small operations": lambda: mg.hvp(squares, vector, vector),
        "no_grad": nothing_recorded,
        **losses(),
    }
