"""How does MyGrad do each work? Eagerly, with the layers of mygrad.nnet it has."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid
from mygrad.nnet.losses import softmax_crossentropy

from benchmarks.peers import Step
from benchmarks.peers.numpy_adam import NumpyAdam
from benchmarks.works import NULL, Problem

VERSION = version("mygrad")
Tensors = dict[str, mg.Tensor]
Layer = Callable[[Tensors, mg.Tensor, mg.Tensor], list[mg.Tensor]]


def kernels() -> str:
    """Leave the answer to NumPy."""
    return ""


def synchronize() -> None:
    """Nothing is put off: numbers are read, or steps wait."""


def chain(problem: Problem) -> Step:
    """Multiply x by w `length` times, then call backward once."""
    x, w = (mg.tensor(a) for a in problem.parameters.values())

    def step() -> tuple[Any, ...]:
        y = x
        for _ in range(problem.length):
            y = y * w
        y.backward()
        return y, x.grad, w.grad

    return step


def mlp_loss(p: Tensors, inputs: Mapping[str, np.ndarray]) -> mg.Tensor:
    """Return the mean cross-entropy of three affine layers with ReLU between."""
    h = relu(inputs["x"] @ p["W0"] + p["b0"])
    h = relu(h @ p["W1"] + p["b1"])
    return softmax_crossentropy(h @ p["W2"] + p["b2"], inputs["labels"])


def captioning_loss(
    p: Tensors, inputs: Mapping[str, np.ndarray], layer: Layer
) -> mg.Tensor:
    """Return the captioner's loss, summed over words and divided by N."""
    words, targets = inputs["captions"][:, :-1], inputs["captions"][:, 1:]
    h0 = inputs["features"] @ p["W_proj"] + p["b_proj"]
    h = mg.concatenate(layer(p, p["W_embed"][words.T], h0))
    flat = targets.T.ravel()
    kept = np.flatnonzero(flat != NULL)
    scores = (h @ p["W_vocab"] + p["b_vocab"])[kept]
    return softmax_crossentropy(scores, flat[kept]) * (len(kept) / len(targets))


def lstm(p: Tensors, x: mg.Tensor, h: mg.Tensor) -> list[mg.Tensor]:
    """Run an LSTM over x (T, N, D): the T outputs (N, H)."""
    width = h.shape[1]
    c: Any = np.zeros(h.shape, "float32")
    outputs = []
    for step in x:
        a = step @ p["Wx"] + h @ p["Wh"] + p["b"]
        i, f, o, g = (a[:, k * width : (k + 1) * width] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * mg.tanh(g)
        h = sigmoid(o) * mg.tanh(c)
        outputs.append(h)
    return outputs


def rnn(p: Tensors, x: mg.Tensor, h: mg.Tensor) -> list[mg.Tensor]:
    """Run an RNN over x (T, N, D): the T outputs (N, H)."""
    outputs = []
    for step in x:
        h = mg.tanh(step @ p["Wx"] + h @ p["Wh"] + p["b"])
        outputs.append(h)
    return outputs


def training(loss: Callable[..., mg.Tensor]) -> Callable[[Problem], Step]:
    """Return the making of a step of Adam on `loss`."""

    def make(problem: Problem) -> Step:
        arrays = {k: v.copy() for k, v in problem.parameters.items()}
        tensors = {k: mg.tensor(v, copy=False) for k, v in arrays.items()}
        adam = NumpyAdam(arrays)

        def step() -> mg.Tensor:
            value = loss(tensors, problem.inputs)
            value.backward()
            adam.update({name: tensor.grad for name, tensor in tensors.items()})
            return value

        return step

    return make


WORKS = {
    "operation": {"MyGrad": chain},
    "chain": {"MyGrad": chain},
    "mlp": {"MyGrad": training(mlp_loss)},
    "lstm": {"MyGrad": training(partial(captioning_loss, layer=lstm))},
    "rnn": {"MyGrad": training(partial(captioning_loss, layer=rnn))},
}
