"""Which of PyTorch's modules is which of ours, and how is one called?

Each adapter takes what a sample gives to the constructor, and gives our modules that
are its parts, whose weights are then set to theirs, and how they are called with what a
sample gives to `forward`. Sequences without a batch, or time first, are brought into
our layout and back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import nn
from tests.interop.opinfo import functions
from tests.interop.opinfo.functions import offered


class Built(NamedTuple):
    """Our modules, by their place in PyTorch's, and the call of all of them."""

    parts: dict[str, nn.Module]
    call: Callable[..., Any]

    @classmethod
    def one(cls, module: nn.Module) -> Built:
        """A module that is called as PyTorch's is."""
        return cls({"": module}, module)


Adapter = Callable[..., Built]


def _function(f: Callable[..., Any]) -> Adapter:
    """A module without weights: the function, with what the constructor was given."""
    return lambda *given, dtype, **settings: Built(
        {}, lambda x, *more: f(x, *more, *given, **settings)
    )


# -- layers ------------------------------------------------------------------------


def linear(in_features, out_features, bias=True, *, dtype):
    layer = nn.Linear(in_features, out_features, bias, dtype=dtype)
    return Built({"": layer}, lambda input: layer(input))


def conv2d(in_channels, out_channels, kernel_size, *, padding=0, dtype):
    offered(not isinstance(padding, str), "padding by name")
    sizes = (in_channels, out_channels, kernel_size)
    layer = nn.Conv2d(*sizes, padding=padding, dtype=dtype)

    def call(x):
        x, back = _batched(x, 4)
        return back(layer(x))

    return Built({"": layer}, call)


def max_pool2d(kernel_size, stride=None, padding=0, *, return_indices=False, dtype):
    offered(not return_indices, "the places of the largest")
    return _pooling(nn.MaxPool2d(kernel_size, stride=stride, padding=padding))


def avg_pool2d(kernel_size, stride=None, padding=0, *, divisor_override=None, dtype):
    offered(divisor_override is None, "divisor_override")
    return _pooling(nn.AvgPool2d(kernel_size, stride=stride, padding=padding))


def _pooling(layer: nn.Module) -> Built:
    def call(x):
        x, back = _batched(x, 4)
        return back(layer(x))

    return Built({}, call)


def embedding(num_embeddings, embedding_dim, *, dtype):
    return Built.one(nn.Embedding(num_embeddings, embedding_dim, dtype=dtype))


def layer_norm(
    normalized_shape, eps=1e-5, elementwise_affine=True, *, bias=True, dtype
):
    offered(len(normalized_shape) == 1, "layer_norm over several axes")
    return Built.one(nn.LayerNorm(*normalized_shape, eps, dtype=dtype))


# -- sequences ---------------------------------------------------------------------


def _batched(x: Any, ndim: int) -> tuple[Any, Callable[[Any], Any]]:
    """A batch of one, where there is none, and the way back."""
    if x.ndim == ndim:
        return x, lambda y: y
    return mg.expand_dims(x, axis=0), lambda y: mg.squeeze(y, axis=0)


def _batch_major(x: Any, batch_first: bool) -> tuple[Any, Callable[[Any], Any]]:
    """A sequence as (N, T, D), and the way back."""
    if x.ndim == 3 and not batch_first:
        return mg.swapaxes(x, 0, 1), lambda y: mg.swapaxes(y, 0, 1)
    return _batched(x, 3)


def _recurrent(kind: type[Any]) -> Adapter:
    """Layers one above the other; ours have one layer each, and one direction."""

    def make(
        input_size,
        hidden_size,
        num_layers,
        *,
        batch_first,
        bias,
        bidirectional,
        nonlinearity="tanh",
        proj_size=0,
        dtype,
    ):
        offered(not bidirectional, "two directions")
        offered(nonlinearity == "tanh", "an RNN with relu")
        offered(proj_size == 0, "a projection of the state")
        widths = [input_size, *[hidden_size] * num_layers]
        layers = [kind(*pair, dtype=dtype) for pair in itertools.pairwise(widths)]
        parts = {str(i): layer for i, layer in enumerate(layers)}
        return Built(parts, lambda x, state=None: _run(layers, batch_first, x, state))

    return make


def _run(layers: list[Any], batch_first: bool, x: Any, state: Any) -> Any:
    """Run the layers over a sequence; their states are one tensor, (layers, N, H)."""
    batched = x.ndim == 3
    x, back = _batch_major(x, batch_first)
    ends = []
    for i, layer in enumerate(layers):
        part = i if batched else slice(i, i + 1)
        begin = each_state(state, lambda s, part=part: s[part])
        x, end = layer(x, begin)
        ends.append(end)
    if isinstance(ends[0], tuple):
        end = tuple(_joined(part, batched) for part in zip(*ends, strict=True))
    else:
        end = _joined(ends, batched)
    return back(x), end


def each_state(state: Any, f: Callable[[Any], Any]) -> Any:
    """The function of a state that is one tensor, two, or None."""
    if state is None:
        return None
    return tuple(map(f, state)) if isinstance(state, list | tuple) else f(state)


def _joined(states: Any, batched: bool) -> Any:
    if batched:
        return mg.stack(list(states), axis=0)
    return mg.concatenate(list(states), axis=0)


def _cell(kind: type[Any]) -> Adapter:
    def make(input_size, hidden_size, *, bias=True, nonlinearity="tanh", dtype):
        offered(nonlinearity == "tanh", "an RNN with relu")
        cell = kind(input_size, hidden_size, dtype=dtype)

        def call(x, state):
            x, back = _batched(x, 2)
            state = each_state(state, lambda s: _batched(s, 2)[0])
            return each_state(cell(x, state), back)

        return Built({"": cell}, call)

    return make


# -- attention ---------------------------------------------------------------------


def _seen(hidden: Any, padding: Any) -> Any:
    """Our mask, True where one may look; theirs are True where one may not."""
    if hidden is None and padding is None:
        return None
    for mask in (hidden, padding):
        offered(mask is None or mask.dtype == bool, "a mask that is added")
    masks = [] if hidden is None else [~hidden.numpy()]
    if padding is not None:
        masks.append(~np.atleast_2d(padding.numpy())[:, None, :])
    return np.logical_and.reduce(np.broadcast_arrays(*masks))


def attention(
    embed_dim,
    num_heads,
    *,
    batch_first,
    bias,
    add_bias_kv,
    add_zero_attn,
    kdim=None,
    vdim=None,
    dtype,
):
    offered(not (add_bias_kv or add_zero_attn), "a key and value that are learned")
    offered(kdim in (None, embed_dim), "keys of another width")
    offered(vdim in (None, embed_dim), "values of another width")
    layer = nn.MultiHeadAttention(embed_dim, num_heads, dtype=dtype)

    def call(query, key, value, *, key_padding_mask=None, attn_mask=None):
        mask = _seen(attn_mask, key_padding_mask)
        if attn_mask is not None and attn_mask.ndim == 3:
            mask = mask.reshape(-1, num_heads, *mask.shape[1:])
        batched = query.ndim == 3
        query, back = _batch_major(query, batch_first)
        key, value = (_batch_major(x, batch_first)[0] for x in (key, value))
        weights = mg.mean(layer.weights(query, key, mask), axis=1)
        weights = weights if batched else mg.squeeze(weights, axis=0)
        return back(layer(query, key, value, mask)), weights

    return Built({"": layer}, call)


def _layer(kind: type[Any]) -> Adapter:
    def make(
        d_model,
        nhead,
        dim_feedforward,
        dropout,
        activation="relu",
        *,
        batch_first=False,
        norm_first=False,
        bias=True,
        dtype,
    ):
        offered(dropout == 0, "the same random numbers")
        offered(activation == "relu", "gelu by the error function")
        sizes = (d_model, nhead, dim_feedforward)
        return _sequences(kind(*sizes, norm_first=norm_first, dtype=dtype), batch_first)

    return make


def _sequences(layer: nn.Module, batch_first: bool) -> Built:
    """A layer of one sequence, or of one and what it looks at."""

    def call(x, memory=None, **masks):
        hidden = [masks.pop(name, None) for name in ("src_mask", "mask", "tgt_mask")]
        offered(memory is None, "a decoder that looks ahead")
        mask = _seen(
            next((m for m in hidden if m is not None), None),
            masks.pop("src_key_padding_mask", None),
        )
        x, back = _batch_major(x, batch_first)
        return back(layer(x, mask))

    return Built({"": layer}, call)


def encoder(layer, num_layers, *, dtype):
    """PyTorch's encoder copies a layer that it is given."""
    given = layer.self_attn
    sizes = (given.embed_dim, given.num_heads, layer.linear1.out_features)
    offered(layer.activation.__name__ == "relu", "gelu by the error function")
    layers = [
        nn.TransformerEncoderLayer(*sizes, norm_first=layer.norm_first, dtype=dtype)
        for _ in range(num_layers)
    ]
    return _sequences(nn.TransformerEncoder(layers), given.batch_first)


MODULES: dict[str, Adapter] = {
    "nn.AvgPool2d": avg_pool2d,
    "nn.BCEWithLogitsLoss": _function(functions.bce_with_logits),
    "nn.Conv2d": conv2d,
    "nn.CrossEntropyLoss": _function(functions.cross_entropy),
    "nn.Embedding": embedding,
    "nn.GELU": _function(functions.gelu),
    "nn.GRU": _recurrent(nn.GRU),
    "nn.GRUCell": _cell(nn.GRUCell),
    "nn.LSTM": _recurrent(nn.LSTM),
    "nn.LSTMCell": _cell(nn.LSTMCell),
    "nn.LayerNorm": layer_norm,
    "nn.Linear": linear,
    "nn.LogSigmoid": _function(functions.FUNCTIONS["nn.functional.logsigmoid"]),
    "nn.LogSoftmax": _function(functions.FUNCTIONS["log_softmax"]),
    "nn.MSELoss": _function(functions.mse_loss),
    "nn.MaxPool2d": max_pool2d,
    "nn.MultiheadAttention": attention,
    "nn.RNN": _recurrent(nn.RNN),
    "nn.RNNCell": _cell(nn.RNNCell),
    "nn.ReLU": _function(mg.relu),
    "nn.SiLU": _function(functions.FUNCTIONS["nn.functional.silu"]),
    "nn.Sigmoid": _function(mg.sigmoid),
    "nn.Softmax": _function(functions.FUNCTIONS["softmax"]),
    "nn.Softmin": _function(functions.FUNCTIONS["nn.functional.softmin"]),
    "nn.Softplus": _function(functions.softplus),
    "nn.Tanh": _function(mg.tanh),
    "nn.TransformerDecoderLayer": _layer(nn.TransformerDecoderLayer),
    "nn.TransformerEncoder": encoder,
    "nn.TransformerEncoderLayer": _layer(nn.TransformerEncoderLayer),
}
