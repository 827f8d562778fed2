"""How does HIPS autograd do each work? Functions of a dict of arrays, NumPy's names.

It has no float32 rule for the gradient of indexing: that one comes back in float64.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import value_and_grad

from benchmarks.peers import Step
from benchmarks.peers.numpy_adam import NumpyAdam
from benchmarks.works import NULL, Arrays, Problem

VERSION = version("autograd")
Layer = Callable[[Arrays, Any, Any], list[Any]]


def kernels() -> str:
    """Leave the answer to NumPy."""
    return ""


def synchronize() -> None:
    """Nothing is put off: numbers are read, or steps wait."""


def chain(problem: Problem) -> Step:
    """Multiply x by w `length` times, value and both gradients."""
    x, w = (a.copy() for a in problem.parameters.values())

    def product(x: Any, w: Any) -> Any:
        y = x
        for _ in range(problem.length):
            y = y * w
        return y

    differentiate = value_and_grad(product, argnum=(0, 1))

    def step() -> tuple[Any, ...]:
        y, gradients = differentiate(x, w)
        return y, *gradients

    return step


def mlp_loss(p: Arrays, inputs: Mapping[str, Any]) -> Any:
    """Return the mean cross-entropy of three affine layers with ReLU between."""
    h = np.maximum(inputs["x"] @ p["W0"] + p["b0"], 0)
    h = np.maximum(h @ p["W1"] + p["b1"], 0)
    labels = inputs["labels"]
    losses = cross_entropies(h @ p["W2"] + p["b2"], labels)
    return np.sum(losses) / np.float32(len(labels))


def captioning_loss(p: Arrays, inputs: Mapping[str, Any], layer: Layer) -> Any:
    """Return the captioner's loss, summed over words and divided by N."""
    words, targets = inputs["captions"][:, :-1], inputs["captions"][:, 1:]
    h0 = inputs["features"] @ p["W_proj"] + p["b_proj"]
    h = np.concatenate(layer(p, p["W_embed"][words.T], h0))
    flat = targets.T.ravel()
    losses = cross_entropies(h @ p["W_vocab"] + p["b_vocab"], flat)
    return np.sum(losses * (flat != NULL)) / np.float32(len(targets))


def lstm(p: Arrays, x: Any, h: Any) -> list[Any]:
    """Run an LSTM over x (T, N, D): the T outputs (N, H)."""
    c = np.zeros(h.shape, "float32")
    outputs = []
    for step in x:
        a = step @ p["Wx"] + h @ p["Wh"] + p["b"]
        i, f, o, g = np.split(a, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return outputs


def rnn(p: Arrays, x: Any, h: Any) -> list[Any]:
    """Run an RNN over x (T, N, D): the T outputs (N, H)."""
    outputs = []
    for step in x:
        h = np.tanh(step @ p["Wx"] + h @ p["Wh"] + p["b"])
        outputs.append(h)
    return outputs


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)) by way of tanh, as autograd's own examples do."""
    return 0.5 * (np.tanh(0.5 * x) + 1)


def cross_entropies(scores: Any, labels: Any) -> Any:
    """Return the cross-entropy of each row of scores (N, V)."""
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    normalizer = np.log(np.sum(np.exp(shifted), axis=1))
    return normalizer - shifted[np.arange(len(labels)), labels]


def training(loss: Callable[..., Any]) -> Callable[[Problem], Step]:
    """Return the making of a step of Adam on `loss`."""

    def make(problem: Problem) -> Step:
        parameters = {k: v.copy() for k, v in problem.parameters.items()}
        adam = NumpyAdam(parameters)
        differentiate = value_and_grad(loss)

        def step() -> Any:
            value, gradients = differentiate(parameters, problem.inputs)
            adam.update(gradients)
            return value

        return step

    return make


WORKS = {
    "operation": {"HIPS autograd": chain},
    "chain": {"HIPS autograd": chain},
    "mlp": {"HIPS autograd": training(mlp_loss)},
    "lstm": {"HIPS autograd": training(partial(captioning_loss, layer=lstm))},
    "rnn": {"HIPS autograd": training(partial(captioning_loss, layer=rnn))},
}
