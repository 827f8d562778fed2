"""How does minigrad compute the cases that are compared with PyTorch?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import nn
from apps.cola.model import ClassificationTransformer
from nn.torch_weights import in_torch_layout
from tests.interop.cases import HEADS, PADDING, D, E, H, N, T, V, ids, waves


class Layer(NamedTuple):
    """A module, and how it is called: every output in one tuple."""

    make: Callable[[], nn.Module]
    call: Callable[..., tuple[Any, ...]] = lambda module, *inputs: (module(*inputs),)


class Tagger(nn.Module):
    """Modules inside a module."""

    def __init__(self):
        self.embedding = nn.Embedding(V, D, dtype="float64")
        self.lstm = nn.LSTM(D, H, dtype="float64")
        self.head = nn.Sequential(nn.Linear(H, D, dtype="float64"), mg.tanh)

    def forward(self, words):
        outputs, _ = self.lstm(self.embedding(words))
        return self.head(outputs)


def linear(*sizes, **settings):
    return nn.Linear(*sizes, dtype="float64", **settings)


def recurrent(kind):
    return lambda: kind(D, H, dtype="float64")


def outputs_and_state(module, x, *state):
    """An RNN's or GRU's outputs; PyTorch's state is the same numbers."""
    outputs, h = module(x, *state)
    return outputs, h


def lstm(module, x, *state):
    outputs, (h, c) = module(x, state or None)
    return outputs, h, c


def attention():
    return nn.MultiHeadAttention(E, HEADS, dtype="float64")


def encoder():
    return stack(nn.TransformerEncoder, nn.TransformerEncoderLayer)


def decoder():
    return stack(nn.TransformerDecoder, nn.TransformerDecoderLayer)


def stack(kind, layer_kind):
    """Two layers of different kinds, and a last normalisation."""
    layers = [
        layer_kind(E, HEADS, H, dtype="float64"),
        layer_kind(E, HEADS, H, norm_first=True, activation="gelu", dtype="float64"),
    ]
    return kind(layers, nn.LayerNorm(E, dtype="float64"))


LAYERS = {
    "Linear": Layer(lambda: linear(D, 4)),
    "Linear without bias": Layer(lambda: linear(D, 4, bias=False)),
    "Embedding": Layer(lambda: nn.Embedding(V, D, dtype="float64")),
    "RNNCell": Layer(recurrent(nn.RNNCell)),
    "RNN": Layer(recurrent(nn.RNN), outputs_and_state),
    "LSTMCell": Layer(recurrent(nn.LSTMCell), lambda m, x, h, c: m(x, (h, c))),
    "LSTM": Layer(recurrent(nn.LSTM), lstm),
    "GRUCell": Layer(recurrent(nn.GRUCell)),
    "GRU": Layer(recurrent(nn.GRU), outputs_and_state),
    "Dropout at rest": Layer(
        lambda: nn.Sequential(linear(D, 4), nn.Dropout(0.5)).eval()
    ),
    "Dropout of nothing": Layer(lambda: nn.Sequential(linear(D, 4), nn.Dropout(0.0))),
    "Sequential": Layer(lambda: nn.Sequential(linear(D, 4), mg.tanh, linear(4, 2))),
    "Tagger": Layer(Tagger),
    "Conv2d": Layer(
        lambda: nn.Conv2d(D, H, (2, 3), stride=2, padding=1, dtype="float64")
    ),
    "pooling": Layer(
        lambda: nn.Sequential(
            nn.Conv2d(D, H, 1, dtype="float64"),
            nn.MaxPool2d(2, stride=1, padding=1),
            nn.AvgPool2d(2, ceil_mode=True),
        )
    ),
    "LayerNorm": Layer(lambda: nn.LayerNorm(E, dtype="float64")),
    "attention to itself": Layer(attention, lambda m, x: (m(x), m.weights(x))),
    "attention to others": Layer(attention, lambda m, x, y: (m(x, y), m.weights(x, y))),
    "attention without padding": Layer(
        attention, lambda m, x: (m(x, mask=PADDING[:, None]),)
    ),
    "attention to the past": Layer(attention, lambda m, x: (m(x, causal=True),)),
    "encoder without padding": Layer(encoder, lambda m, x: (m(x, PADDING[:, None]),)),
    "encoder of the past": Layer(encoder, lambda m, x: (m(x, causal=True),)),
    "the course's Transformer": Layer(
        lambda: ClassificationTransformer(
            V, max_length=T, embed_dim=E, head_dim=3, hidden_dim=H, dtype="float64"
        )
    ),
    "decoder": Layer(decoder),
    "decoder without padding": Layer(
        decoder, lambda m, x, y: (m(x, y, PADDING[:, None], PADDING[:, None, 1:]),)
    ),
}


def weighted_squares(*outputs):
    """A loss that makes every output matter, each in its own way."""
    parts = [
        (y * y * waves(y.shape, f"weights {k}")).sum() for k, y in enumerate(outputs)
    ]
    return sum(parts[1:], parts[0])


def temporal_softmax_loss(scores):
    mask = np.array([[True, True, False], [True, False, False]])
    return nn.temporal_softmax_loss(scores, ids((N, T), 4, "targets"), mask)


LOSSES = {
    "weighted squares": weighted_squares,
    "temporal_softmax_loss": temporal_softmax_loss,
}

for _reduction in ("mean", "sum", "none"):
    LOSSES |= {
        f"cross_entropy {_reduction}": lambda y, r=_reduction: nn.cross_entropy(
            y, ids((4,), 4, "targets"), r
        ),
        f"mse_loss {_reduction}": lambda y, r=_reduction: nn.mse_loss(
            y, waves((4, 4), "targets"), r
        ),
        f"bce_with_logits {_reduction}": lambda y, r=_reduction: nn.bce_with_logits(
            y, abs(waves((4, 4), "targets")), r
        ),
    }

OTHER = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2}

OPTIMIZERS = {
    "SGD": lambda p: nn.SGD(p, 0.1),
    "SGD momentum": lambda p: nn.SGD(p, 0.1, momentum=0.9),
    "SGD weight decay": lambda p: nn.SGD(p, 0.1, weight_decay=0.2),
    "SGD momentum and weight decay": lambda p: nn.SGD(
        p, 0.1, momentum=0.9, weight_decay=0.2
    ),
    "Adam": lambda p: nn.Adam(p, 0.01),
    "Adam weight decay": lambda p: nn.Adam(p, 0.01, weight_decay=0.2),
    "Adam other settings": lambda p: nn.Adam(p, 0.01, **OTHER),
    "AdamW": lambda p: nn.AdamW(p, 0.01),
    "AdamW other settings": lambda p: nn.AdamW(p, 0.01, **OTHER),
}

SCHEDULES = {
    "ExponentialDecay": lambda optimizer: nn.ExponentialDecay(optimizer, 0.7),
    "CosineWithWarmup": lambda optimizer: nn.CosineWithWarmup(optimizer, 2, 5),
}

FUNCTIONS = {
    "abs": mg.abs,
    "add": mg.add,
    "avg_pool2d": lambda x: nn.functional.avg_pool2d(x, 3, stride=2, padding=1),
    "astype float32": lambda x: x.astype("float32"),
    "broadcast_to": lambda x: mg.broadcast_to(x, shape=(2, 3)),
    "clip": lambda x: mg.clip(x, low=-0.5, high=0.5),
    "clip from below": lambda x: mg.clip(x, low=0.0),
    "concatenate": lambda a, b: mg.concatenate([a, b], axis=1),
    "conv2d": lambda x, w: nn.functional.conv2d(x, w, stride=(2, 1), dilation=(1, 1)),
    "conv_transpose2d": lambda x, w: nn.functional.conv_transpose2d(x, w, stride=2),
    "cos": mg.cos,
    "cumsum": lambda x: mg.cumsum(x, axis=1),
    "divide": mg.divide,
    "einsum batched product": lambda a, b: mg.einsum("nij,njk->nik", a, b),
    "einsum of three": lambda a, b, c: mg.einsum("ij,jk,kl->li", a, b, c),
    "einsum trace": lambda x: mg.einsum("ii->i", x),
    "exp": mg.exp,
    "expand_dims": lambda x: mg.expand_dims(x, axis=1),
    "expm1": mg.expm1,
    "flip": lambda x: mg.flip(x, axis=1),
    "gelu": nn.functional.gelu,
    "getitem": lambda x: x[1:, None, ::2],
    "getitem by ids": lambda x, i: x[i],
    "log": lambda x: mg.log(x + 2),
    "log1p": lambda x: mg.log1p(x * 0.5),
    "log_softmax": mg.log_softmax,
    "log_softmax axis 0": lambda x: mg.log_softmax(x, axis=0),
    "logsumexp": lambda x: mg.logsumexp(x, axis=1),
    "logsumexp all": mg.logsumexp,
    "matmul": mg.matmul,
    "matmul batched": mg.matmul,
    "matmul vector": mg.matmul,
    "max": lambda x: mg.max(x, axis=1),
    "max_pool2d": lambda x: nn.functional.max_pool2d(x, 3, stride=2, ceil_mode=True),
    "maximum": mg.maximum,
    "mean": lambda x: mg.mean(x, axis=1, keepdims=True),
    "mean all": mg.mean,
    "min": lambda x: mg.min(x, axis=1),
    "minimum": mg.minimum,
    "multiply": mg.multiply,
    "negative": mg.negative,
    "norm": lambda x: mg.norm(x, axis=1),
    "norm all": mg.norm,
    "pad": lambda x: mg.pad(x, widths=((1, 0), (0, 2))),
    "power": lambda x: mg.power(x + 2, 1.5),
    "prod": lambda x: mg.prod(x, axis=1),
    "prod with a zero": lambda x: mg.prod(x * [[0.0, 1, 1], [1, 1, 1]], axis=1),
    "relu": mg.relu,
    "reshape": lambda x: x.reshape(3, 2),
    "scaled_dot_product_attention": lambda q, k, v: (
        nn.functional.scaled_dot_product_attention(q, k, v, PADDING[:, None, None, 1:])
    ),
    "scaled_dot_product_attention to the past": lambda q, k, v: (
        nn.functional.scaled_dot_product_attention(q, k, v, causal=True)
    ),
    "scatter_add": lambda x, i: mg.scatter_add(x, i, 3),
    "sigmoid": mg.sigmoid,
    "sin": mg.sin,
    "softmax": mg.softmax,
    "softmax axis 0": lambda x: mg.softmax(x, axis=0),
    "softplus": lambda x: mg.softplus(3 * x),
    "split": lambda x: mg.split(x, (2, 3), axis=1)[1],
    "sqrt": lambda x: mg.sqrt(x + 2),
    "squeeze": lambda x: mg.squeeze(x, axis=1),
    "stack": lambda a, b: mg.stack([a, b], axis=1),
    "std": lambda x: mg.std(x, axis=1),
    "std unbiased": lambda x: mg.std(x, axis=1, ddof=1),
    "subtract": mg.subtract,
    "sum": lambda x: mg.sum(x, axis=0),
    "sum all": mg.sum,
    "swapaxes": lambda x: mg.swapaxes(x, 0, 2),
    "take": mg.take,
    "tanh": mg.tanh,
    "transpose": lambda x: mg.transpose(x, axes=(2, 0, 1)),
    "unstack": lambda x: mg.unstack(x, axis=1)[1],
    "var": lambda x: mg.var(x, axis=1),
    "var unbiased": lambda x: mg.var(x, axis=1, ddof=1),
    "where": lambda a, b: mg.where(a.detach() > 0, a, b),
}


def tensor(array):
    """A leaf, if numbers of this dtype have gradients."""
    return mg.Tensor(array, requires_grad=array.dtype.kind == "f")


def array(value):
    return value.numpy().copy()


def state(module):
    return nn.torch_state_dict(module)


def load(module, arrays):
    nn.load_torch_state_dict(module, arrays)


def gradients(module):
    return in_torch_layout(module, lambda parameter: parameter.grad.numpy())


def rate(optimizer):
    return optimizer.lr


def clip(parameters, max_norm):
    return nn.clip_grad_norm(parameters, max_norm)
