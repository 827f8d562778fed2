"""Which of PyTorch's operators is which of ours, and how do its arguments carry over?

Each adapter takes a sample's arguments, its tensors already ours and its None left out,
under PyTorch's names, and computes by one expression of our own. Where a sample asks
for what we do not offer, it raises `NotOffered` with the words that the list of
differences gives as its reason; an argument that the adapter does not name counts so
too. An operator of theirs without an adapter has no counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
import nn.functional as F
from minigrad.tensor import Tensor


class NotOffered(Exception):  # noqa: N818
    """A sample asks for what we do not offer; the message says what."""


def offered(condition: Any, otherwise: str) -> None:
    """Raise NotOffered unless the condition holds."""
    if not condition:
        raise NotOffered(otherwise)


Adapter = Callable[..., Any]


# -- element by element ------------------------------------------------------------


def _unary(f: Adapter) -> Adapter:
    return lambda x: f(x)


def _binary(f: Adapter) -> Adapter:
    return lambda x, other: f(x, other)


def _swapped(f: Adapter) -> Adapter:
    """An operator whose Tensor stands on the right."""
    return lambda x, other: f(other, x)


def add(x, other, *, alpha=1):
    return mg.add(x, other if alpha == 1 else other * alpha)


def sub(x, other, *, alpha=1):
    return mg.subtract(x, other if alpha == 1 else other * alpha)


def rsub(x, other, *, alpha=1):
    return other - (x if alpha == 1 else x * alpha)


def clamp(x, min=None, max=None):
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        x = x if min is None else mg.maximum(x, min)
        return x if max is None else mg.minimum(x, max)
    return mg.clip(x, low=min, high=max)


def where(x, condition, other):
    """Their first operand is the condition, but it is the second of a sample."""
    return mg.where(condition, x, other)


def masked_fill(x, mask, value):
    return mg.where(mask, value, x)


def softplus(x, beta=1, threshold=20):
    offered(beta == 1 and threshold == 20, "softplus with beta or threshold")
    return mg.softplus(x)


def gelu(x, approximate="none"):
    offered(approximate == "tanh", "gelu by the error function")
    return F.gelu(x)


ELEMENTWISE: dict[str, Adapter] = {
    "abs": _unary(mg.abs),
    "add": add,
    "clamp": clamp,
    "clamp_max": lambda x, other: clamp(x, max=other),
    "clamp_min": lambda x, other: clamp(x, min=other),
    "cos": _unary(mg.cos),
    "div.no_rounding_mode": _binary(mg.divide),
    "eq": _binary(lambda x, y: x == y),
    "exp": _unary(mg.exp),
    "expm1": _unary(mg.expm1),
    "ge": _binary(lambda x, y: x >= y),
    "gt": _binary(lambda x, y: x > y),
    "le": _binary(lambda x, y: x <= y),
    "log": _unary(mg.log),
    "log1p": _unary(mg.log1p),
    "lt": _binary(lambda x, y: x < y),
    "masked_fill": masked_fill,
    "max.binary": _binary(mg.maximum),
    "maximum": _binary(mg.maximum),
    "min.binary": _binary(mg.minimum),
    "minimum": _binary(mg.minimum),
    "mul": _binary(mg.multiply),
    "ne": _binary(lambda x, y: x != y),
    "neg": _unary(mg.negative),
    "nn.functional.gelu": gelu,
    "nn.functional.logsigmoid": _unary(lambda x: -mg.softplus(-x)),
    "nn.functional.relu": _unary(mg.relu),
    "nn.functional.silu": _unary(lambda x: x * mg.sigmoid(x)),
    "nn.functional.softplus": softplus,
    "pow": _binary(mg.power),
    "reciprocal": _unary(lambda x: 1 / x),
    "rsqrt": _unary(lambda x: 1 / mg.sqrt(x)),
    "rsub": rsub,
    "sigmoid": _unary(mg.sigmoid),
    "sin": _unary(mg.sin),
    "sqrt": _unary(mg.sqrt),
    "square": _unary(lambda x: x**2),
    "sub": sub,
    "tanh": _unary(mg.tanh),
    "true_divide": _binary(lambda x, y: x / y),
    "where": where,
    "__radd__": _swapped(lambda x, y: x + y),
    "__rdiv__": _swapped(lambda x, y: x / y),
    "__rmul__": _swapped(lambda x, y: x * y),
    "__rpow__": _swapped(lambda x, y: x**y),
    "__rsub__": _swapped(lambda x, y: x - y),
}

WHOLE_NUMBERS: dict[str, Adapter] = {
    "__rand__": _swapped(lambda x, y: x & y),
    "__ror__": _swapped(lambda x, y: x | y),
    "bitwise_and": _binary(lambda x, y: x & y),
    "bitwise_not": _unary(lambda x: ~x),
    "bitwise_or": _binary(lambda x, y: x | y),
    "logical_and": _binary(lambda x, y: x & y),
    "logical_not": _unary(lambda x: ~x),
    "logical_or": _binary(lambda x, y: x | y),
}


# -- along axes --------------------------------------------------------------------


def has_axes(x: Tensor) -> None:
    """PyTorch lets a tensor without axes have axes 0 and -1."""
    offered(x.ndim, "an axis of a tensor without axes")


def _axes(dim: Any) -> Any:
    """An axis or several; PyTorch means all of them by none."""
    if dim is None or isinstance(dim, int):
        return dim
    return tuple(dim) or None


def _reduction(f: Adapter) -> Adapter:
    def reduce(x, dim=None, keepdim=False, *, dtype=None):
        x = x if dtype is None else x.astype(dtype)
        return f(x, axis=_axes(dim), keepdims=keepdim)

    return reduce


def _spread(f: Adapter) -> Adapter:
    """`var` and `std`, whose sum PyTorch divides by n - 1."""

    def reduce(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        return f(x, axis=_axes(dim), keepdims=keepdim, ddof=correction)

    return reduce


def _beside_mean(f: Adapter) -> Adapter:
    def both(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
        given = {"unbiased": unbiased, "keepdim": keepdim, "correction": correction}
        spread = _spread(f)(x, dim, **given)
        axis = None if isinstance(dim, bool) else _axes(dim)
        return spread, mg.mean(x, axis=axis, keepdims=keepdim)

    return both


def _extreme(f: Adapter, where_it_is: Adapter) -> Adapter:
    """The extreme along one axis, and its index."""

    def both(x, dim, keepdim=False):
        has_axes(x)
        index = where_it_is(x, axis=dim)
        index = mg.expand_dims(index, axis=dim) if keepdim else index
        return f(x, axis=dim, keepdims=keepdim), index

    return both


def _place(f: Adapter) -> Adapter:
    def index(x, dim=None, keepdim=False):
        found = f(x, axis=dim)
        if not keepdim or not x.ndim:
            return found
        offered(dim is not None, "an axis kept of the index of all elements")
        return mg.expand_dims(found, axis=dim)

    return index


def _along(f: Adapter) -> Adapter:
    """One axis, and a dtype to compute in."""

    def along(x, dim, *, dtype=None):
        return f(x if dtype is None else x.astype(dtype), axis=dim)

    return along


def norm(x, p=2, dim=None, keepdim=False, *, dtype=None):
    offered(p in (2, 2.0, "fro"), "norms other than the Euclidean")
    x = x if dtype is None else x.astype(dtype)
    return mg.norm(x, axis=_axes(dim), keepdims=keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    return norm(x, ord, dim, keepdim, dtype=dtype)


def linalg_norm(x, ord=None, dim=None, keepdim=False, *, dtype=None):
    axes = x.ndim if dim is None else np.size(dim)
    offered(ord in (None, "fro") or axes == 1, "norms of a matrix")
    return norm(x, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def fro_norm(x, p="fro", dim=None, keepdim=False):
    return norm(x, p, dim, keepdim)


ALONG_AXES: dict[str, Adapter] = {
    "amax": _reduction(mg.max),
    "amin": _reduction(mg.min),
    "argmax": _place(mg.argmax),
    "argmin": _place(mg.argmin),
    "cumsum": _along(mg.cumsum),
    "linalg.norm": linalg_norm,
    "linalg.vector_norm": vector_norm,
    "log_softmax": _along(mg.log_softmax),
    "log_softmax.with_dtype": _along(mg.log_softmax),
    "logsumexp": _reduction(mg.logsumexp),
    "max.reduction_no_dim": mg.max,
    "max.reduction_with_dim": _extreme(mg.max, mg.argmax),
    "mean": _reduction(mg.mean),
    "min.reduction_no_dim": mg.min,
    "min.reduction_with_dim": _extreme(mg.min, mg.argmin),
    "nn.functional.softmin": _along(lambda x, axis: mg.softmax(-x, axis=axis)),
    "norm": norm,
    "norm.fro": fro_norm,
    "prod": _reduction(mg.prod),
    "softmax": _along(mg.softmax),
    "softmax.with_dtype": _along(mg.softmax),
    "std": _spread(mg.std),
    "std.unbiased": _spread(mg.std),
    "std_mean": _beside_mean(mg.std),
    "std_mean.unbiased": _beside_mean(mg.std),
    "sum": _reduction(mg.sum),
    "var": _spread(mg.var),
    "var.unbiased": _spread(mg.var),
    "var_mean": _beside_mean(mg.var),
    "var_mean.unbiased": _beside_mean(mg.var),
}


# -- the same elements elsewhere ---------------------------------------------------


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one tuple."""
    whole = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    return tuple(whole)


def expand(x, *sizes):
    """Our broadcast_to wants every size said."""
    given = _sizes(sizes)
    own = (1,) * (len(given) - x.ndim) + x.shape
    shape = tuple(n if m == -1 else m for n, m in zip(own, given, strict=True))
    return mg.broadcast_to(x, shape=shape)


def broadcast_tensors(*tensors):
    shape = np.broadcast_shapes(*(x.shape for x in tensors))
    return [mg.broadcast_to(x, shape=shape) for x in tensors]


def permute(x, *axes):
    return mg.transpose(x, axes=_sizes(axes))


def squeeze(x, dim=None):
    """Drop axes of size 1; PyTorch passes over axes of other sizes that are named."""
    if dim is None or not x.ndim:
        return mg.squeeze(x)
    named = np.atleast_1d(np.array(dim, int)).tolist()
    return mg.squeeze(x, axis=tuple(i for i in named if x.shape[i] == 1))


def transpose(x, dim0, dim1):
    has_axes(x)
    return mg.swapaxes(x, dim0, dim1)


def flip(x, dims):
    return mg.flip(x, axis=tuple(dims))


def split(x, size_or_sizes, dim=0):
    sizes = size_or_sizes
    if isinstance(sizes, int):
        n = x.shape[dim]
        sizes = [min(sizes, n - begin) for begin in range(0, n, sizes)]
    return mg.split(x, tuple(sizes), axis=dim)


def chunk(x, chunks, dim=0):
    return split(x, max(-(-x.shape[dim] // chunks), 1), dim)


def stack(*arguments, dim=0):
    *tensors, dim = _sequence(arguments, dim)
    return mg.stack(tensors, axis=dim)


def cat(*arguments, dim=0):
    *tensors, dim = _sequence(arguments, dim)
    return mg.concatenate(tensors, axis=dim)


def _sequence(arguments: tuple[Any, ...], dim: int) -> list[Any]:
    """Tensors in one list or one by one, and the axis behind them."""
    first, *rest = arguments
    tensors = list(first) if isinstance(first, list | tuple) else [first]
    for value in rest:
        if isinstance(value, int):
            dim = value
        else:
            tensors.append(value)
    return [*tensors, dim]


def constant_pad(x, pad, value=0, *, mode="constant"):
    """PyTorch counts pairs from the last axis backwards."""
    offered(mode == "constant", "padding by other than a constant")
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    widths = ((0, 0),) * (x.ndim - len(pairs)) + tuple(pairs)
    offered(np.min(widths, initial=0) >= 0, "negative padding")
    return mg.pad(x, widths=widths, value=value)


def movedim(x, source, destination):
    sizes = np.empty(tuple(range(1, x.ndim + 1)))  # each axis known by its size
    moved = np.moveaxis(sizes, source, destination).shape
    return mg.transpose(x, axes=tuple(n - 1 for n in moved))


def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return x.reshape(1)
    begin, end = start_dim % x.ndim, end_dim % x.ndim
    shape = (*x.shape[:begin], math.prod(x.shape[begin : end + 1]), *x.shape[end + 1 :])
    return x.reshape(shape)


def unflatten(x, dim, sizes):
    dim %= x.ndim
    return x.reshape((*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def to(x, *arguments, **settings):
    dtypes = [a for a in (*arguments, *settings.values()) if isinstance(a, np.dtype)]
    like = [a.dtype for a in arguments if isinstance(a, Tensor)]
    return x.astype((dtypes + like or [x.dtype])[0])


def _astype(dtype: str) -> Adapter:
    return lambda x: x.astype(dtype)


REARRANGED: dict[str, Adapter] = {
    "H": _unary(lambda x: x.T),
    "T": _unary(lambda x: x.T),
    "broadcast_tensors": broadcast_tensors,
    "broadcast_to": expand,
    "cat": cat,
    "chunk": chunk,
    "constant_pad_nd": constant_pad,
    "double": _astype("float64"),
    "expand": expand,
    "expand_as": lambda x, other: mg.broadcast_to(x, shape=other.shape),
    "flatten": flatten,
    "flip": flip,
    "fliplr": lambda x: mg.flip(x, axis=1),
    "flipud": lambda x: mg.flip(x, axis=0),
    "float": _astype("float32"),
    "half": _astype("float16"),
    "int": _astype("int32"),
    "long": _astype("int64"),
    "mT": lambda x: mg.swapaxes(x, -1, -2),
    "movedim": movedim,
    "nn.functional.pad.constant": constant_pad,
    "permute": permute,
    "ravel": lambda x: x.reshape(-1),
    "reshape": lambda x, *sizes: x.reshape(*sizes),
    "reshape_as": lambda x, other: x.reshape(other.shape),
    "split": split,
    "split.list_args": split,
    "split_with_sizes": split,
    "squeeze": squeeze,
    "squeeze.multiple": squeeze,
    "stack": stack,
    "t": lambda x: x.T,
    "to": to,
    "transpose": transpose,
    "unbind": lambda x, dim=0: mg.unstack(x, axis=dim),
    "unflatten": unflatten,
    "unsqueeze": lambda x, dim: mg.expand_dims(x, axis=dim),
    "view": lambda x, *sizes: x.reshape(*sizes),
    "view_as": lambda x, other: x.reshape(other.shape),
}


# -- looked up ---------------------------------------------------------------------


def _whole_axes(x: Tensor, dim: int, part: Any) -> tuple[Any, ...]:
    """The index that takes a part of one axis and all of the others."""
    return (slice(None),) * (dim % x.ndim) + (part,)


def narrow(x, dim, start, length):
    start = int(start) % max(x.shape[dim], 1) if int(start) < 0 else int(start)
    return x[_whole_axes(x, dim, slice(start, start + length))]


def take_slice(x, dim=0, start=None, end=None, step=1):
    return x[_whole_axes(x, dim, slice(start, end, step))]


def along_axis(x, index, dim=None, *, sparse_grad=False):
    """Each id takes along one axis, at its own place along the others."""
    if dim is None:
        return x.reshape(-1)[index.reshape(-1)]
    dim %= x.ndim
    around = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
    shape = np.broadcast_shapes(around, index.shape)
    x = mg.broadcast_to(x, shape=(*shape[:dim], x.shape[dim], *shape[dim + 1 :]))
    places = list(np.indices(shape, sparse=True))
    places[dim] = mg.broadcast_to(index, shape=shape)
    return x[tuple(places)]


def gather(x, dim, index, *, sparse_grad=False):
    has_axes(x)
    offered(index.ndim == x.ndim, "ids with other axes than x has")
    places = list(np.indices(index.shape, sparse=True))
    places[dim] = index
    return x[tuple(places)]


def masked_select(x, mask):
    both = np.broadcast_shapes(x.shape, mask.shape)
    mask = mg.broadcast_to(mask, shape=both)
    return mg.broadcast_to(x, shape=both)[mask].reshape(-1)


def index_add(x, dim, index, source, *, alpha=1):
    has_axes(x)
    dim %= x.ndim
    added = mg.scatter_add(source, index.reshape(-1), x.shape[dim], axis=dim)
    return x + (added if alpha == 1 else added * alpha)


def index_select(x, dim, index):
    has_axes(x)
    return mg.take(x, index, axis=dim)


def one_hot(ids, num_classes=-1):
    classes = int(ids.numpy().max()) + 1 if num_classes == -1 else num_classes
    return mg.one_hot(ids, classes, dtype="int64")


def embedding(table, ids, **settings):
    offered(not settings, "an embedding's padding, norm, frequencies or sparseness")
    return F.word_embedding(ids, table)


LOOKED_UP: dict[str, Adapter] = {
    "__getitem__": lambda x, key: x[key],
    "gather": gather,
    "index_add": index_add,
    "index_select": index_select,
    "masked_select": masked_select,
    "narrow": narrow,
    "nn.functional.embedding": embedding,
    "nn.functional.one_hot": one_hot,
    "select": lambda x, dim, index: x[_whole_axes(x, dim, index)],
    "slice": take_slice,
    "take": lambda x, ids: mg.take(x.reshape(-1), ids),
    "take_along_dim": along_axis,
}


# -- made --------------------------------------------------------------------------


def full(size, value, *, dtype=None):
    return mg.full(tuple(size), value, dtype=dtype or "float32")


MADE: dict[str, Adapter] = {
    "full": full,
    "ones": lambda *size, dtype=None: mg.ones(_sizes(size), dtype=dtype or "float32"),
    "zeros": lambda *size, dtype=None: mg.zeros(_sizes(size), dtype=dtype or "float32"),
}


# -- products ----------------------------------------------------------------------


def _plus_product(product: Adapter) -> Adapter:
    def both(x, a, b, *, beta=1, alpha=1):
        return x * beta + product(a, b) * alpha

    return both


def _scaled(x: Any, factor: float) -> Any:
    return x if factor == 1 else x * factor


def einsum(operands, equation):
    offered("..." not in equation, "an ellipsis in einsum")
    return mg.einsum(equation, *operands)


def multi_dot(matrices):
    product = matrices[0]
    for matrix in matrices[1:]:
        product = product @ matrix
    return product


def vecdot(x, other, *, dim=-1):
    return mg.sum(x * other, axis=dim)


def trace(x):
    n = min(x.shape)
    return mg.einsum("ii->", x[:n, :n])


def inner(x, other):
    if 0 in (x.ndim, other.ndim):
        return x * other
    return x @ (other.T if other.ndim > 1 else other)


PRODUCTS: dict[str, Adapter] = {
    "__rmatmul__": _swapped(lambda x, y: x @ y),
    "addmm": _plus_product(mg.matmul),
    "addmm.decomposed": _plus_product(mg.matmul),
    "addmv": _plus_product(mg.matmul),
    "addr": _plus_product(lambda a, b: mg.expand_dims(a, axis=1) * b),
    "baddbmm": _plus_product(mg.matmul),
    "bmm": _binary(mg.matmul),
    "dot": _binary(mg.matmul),
    "einsum": einsum,
    "inner": inner,
    "linalg.multi_dot": multi_dot,
    "linalg.vecdot": vecdot,
    "matmul": _binary(lambda a, b: a @ b),
    "mm": _binary(mg.matmul),
    "mv": _binary(mg.matmul),
    "outer": _binary(lambda a, b: mg.expand_dims(a, axis=1) * b),
    "trace": trace,
    "vdot": _binary(lambda a, b: mg.sum(a * b)),
}


# -- layers and losses -------------------------------------------------------------


def _picture(x: Tensor) -> None:
    offered(x.ndim == 4, "a picture without a batch")


def _number(padding: Any) -> None:
    offered(not isinstance(padding, str), "padding by name")


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    _picture(x)
    _number(padding)
    offered(groups == 1, "groups of channels")
    moves = {"stride": stride, "padding": padding, "dilation": dilation}
    return F.conv2d(x, weight, bias, **moves)


def conv_transpose2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding=0,
    output_padding=0,
    groups=1,
    dilation=1,
):
    _picture(x)
    offered(groups == 1, "groups of channels")
    offered(not np.any(output_padding), "output_padding")
    moves = {"stride": stride, "padding": padding, "dilation": dilation}
    return F.conv_transpose2d(x, weight, bias, **moves)


def max_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    _picture(x)
    offered(np.all(np.array(dilation) == 1), "dilated pooling")
    offered(not return_indices, "the places of the largest")
    moves = {"stride": _stride(stride), "padding": padding, "ceil_mode": ceil_mode}
    return F.max_pool2d(x, kernel_size, **moves)


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    _picture(x)
    offered(divisor_override is None, "divisor_override")
    offered(count_include_pad or not np.any(padding), "padding that does not count")
    moves = {"stride": _stride(stride), "padding": padding, "ceil_mode": ceil_mode}
    return F.avg_pool2d(x, kernel_size, **moves)


def _stride(stride: Any) -> Any:
    """An empty stride is the window's size."""
    return None if isinstance(stride, list | tuple) and not stride else stride


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Their windows as columns; ours keep all axes: (N, C, K, L, P, Q)."""
    _picture(x)
    size, step, gap, edge = map(_pair, (kernel_size, stride, dilation, padding))
    x = mg.pad(x, widths=((0, 0), (0, 0), (edge[0],) * 2, (edge[1],) * 2))
    windows = mg.unfold(x, size=size, stride=step, dilation=gap)
    N, C, K, L, P, Q = windows.shape
    return windows.reshape((N, C * K * L, P * Q))


def _pair(value: Any) -> tuple[int, int]:
    first, *rest = np.atleast_1d(value).tolist()
    return first, (rest or [first])[0]


def linear(x, weight, bias=None):
    return F.linear(x, weight.T, bias)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    offered(len(normalized_shape) == 1, "layer_norm over several axes")
    offered(weight is not None and bias is not None, "layer_norm without W or b")
    return F.layer_norm(x, weight, bias, eps)


def cross_entropy(scores, targets, *, reduction="mean", **settings):
    offered("weight" not in settings, "weights of classes")
    usual = {"label_smoothing": 0.0, "ignore_index": -100}
    offered(settings.items() <= usual.items(), "smoothing, or ids left out")
    offered(targets.dtype.kind == "i", "cross_entropy of probabilities")
    offered(scores.ndim == 2, "cross_entropy of other axes than (N, C)")
    return F.cross_entropy(scores, targets, reduction)


def mse_loss(x, target, *, reduction="mean"):
    offered(x.shape == target.shape, "a loss that broadcasts")
    return F.mse_loss(x, target, reduction)


def bce_with_logits(x, target, *, weight=None, pos_weight=None, reduction="mean"):
    offered(weight is None and pos_weight is None, "weights of bce_with_logits")
    return F.bce_with_logits(x, target, reduction)


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, **settings):
    offered(dropout_p == 0, "dropout in attention")
    offered(not settings, "attention of grouped heads, or with a scale")
    same = q.shape[-2] == k.shape[-2]
    offered(same or not is_causal, "causal attention of two lengths")
    offered(attn_mask is None or attn_mask.dtype == bool, "a mask that is added")
    return F.scaled_dot_product_attention(q, k, v, attn_mask, causal=is_causal)


def dropout(x, p=0.5, training=True, inplace=False):
    offered(p == 0 or not training, "the same random numbers")
    return mg.dropout(x, p if training else 0.0)


LAYERS: dict[str, Adapter] = {
    "nn.functional.avg_pool2d": avg_pool2d,
    "nn.functional.binary_cross_entropy_with_logits": bce_with_logits,
    "nn.functional.conv2d": conv2d,
    "nn.functional.conv_transpose2d": conv_transpose2d,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.dropout": dropout,
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.linear": linear,
    "nn.functional.max_pool2d": max_pool2d,
    "nn.functional.mse_loss": mse_loss,
    "nn.functional.scaled_dot_product_attention": attention,
    "nn.functional.unfold": unfold,
}

FUNCTIONS: dict[str, Adapter] = {
    **ELEMENTWISE,
    **WHOLE_NUMBERS,
    **ALONG_AXES,
    **REARRANGED,
    **LOOKED_UP,
    **MADE,
    **PRODUCTS,
    **LAYERS,
}
