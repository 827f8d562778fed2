"""Every operation's calls and operands, drawn in every form that it takes.

A case is a Hypothesis strategy of (f, operands): `f` takes Tensors in place of the
operands, which are differentiated if they are floats and no `Constant`s. Values keep a
margin from kinks, ties and the ends of domains. Needs Hypothesis.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import functions
from minigrad.ops import (
    convolution,
    elementwise,
    index,
    linalg,
    losses,
    pooling,
    reduce,
    shape,
    windows,
)
from minigrad.ops.index import IDS
from minigrad.ops.shape import Slice
from minigrad.random import Generator
from minigrad.tape import Primitive
from minigrad.testing.function import Constant
from minigrad.testing.strategies import (
    arrays,
    axes,
    broadcastable,
    operand_values,
    primitive_of,
    shapes,
    whole,
)

Call = Callable[..., Any]
Case = tuple[Call, list[Any]]  # what is called, and on which operands
Cases = st.SearchStrategy[Case]
Draw = st.DrawFn
Size = tuple[int, ...]
LARGEST = 12  # elements: a second-order check costs several gradients an element


def small(*ranges: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of at most LARGEST elements: (min_dims, max_dims, min_side, max_side)."""
    return shapes(*ranges).filter(lambda s: int(np.prod(s, dtype=int)) <= LARGEST)


ANY = small(0, 3, 0, 3)  # 0-d and empty ones too
FULL = small(0, 3, 1, 3)
PAIRS = broadcastable(2, max_dims=2)


# -- operands ----------------------------------------------------------------------


@st.composite
def either_sign(draw: Draw, shape: Size, low: float, high: float) -> np.ndarray:
    """Values of both signs with magnitudes in [low, high]."""
    signs = draw(hnp.arrays(float, shape, elements=st.sampled_from([-1.0, 1.0])))
    return draw(arrays(shape, low, high)) * signs


@st.composite
def any_axis(draw: Draw, ndim: int) -> Any:
    """Every form of an axis, tuples with negative members and the empty one too."""
    axis = draw(st.one_of(axes(ndim), st.just(())))
    if not isinstance(axis, tuple):
        return axis
    return tuple(i - ndim if draw(st.booleans()) else i for i in axis)


def within(ndim: int) -> st.SearchStrategy[int]:
    """One axis of an array, counted from either end."""
    return st.integers(-ndim, ndim - 1)


# -- forms of a call ---------------------------------------------------------------


def unary(call: Call) -> Cases:
    """Cases of a primitive of one array, element by element, in its domain."""
    primitive = primitive_of(call)
    values = lambda s: operand_values(primitive, "a", s)  # noqa: E731
    return ANY.flatmap(values).map(lambda a: (call, [a]))


@st.composite
def binary(draw: Draw, call: Call, number: float = 1.7, same: bool = True) -> Case:
    """Cases of a primitive of two arrays that broadcast, in their domains.

    Both are Tensors, or one is an array or a Python number on either side, or both are
    the same Tensor.
    """
    first, second = draw(PAIRS)
    a = draw(operand_values(primitive_of(call), "a", first))
    b = draw(operand_values(primitive_of(call), "b", second))
    forms: dict[str, Case] = {
        "both": (call, [a, b]),
        "array on the left": (call, [Constant(a), b]),
        "array on the right": (call, [a, Constant(b)]),
        "number on the left": (lambda y: call(number, y), [b]),
        "number on the right": (lambda x: call(x, number), [a]),
    }
    if same:
        forms["the same twice"] = (lambda x: call(x, x), [np.abs(a) + 0.3])
    return forms[draw(st.sampled_from([*["both"] * 5, *sorted(forms)]))]


@st.composite
def powers(draw: Draw) -> Case:
    """A ** b: positive bases, or bases of both signs with an integer number."""
    if draw(st.sampled_from(["any", "any", "any", "whole"])) == "any":
        return draw(binary(elementwise.power))
    exponent = draw(st.sampled_from([-2, -1, 0, 1, 2, 3, 4.0]))
    base = draw(FULL.flatmap(lambda s: either_sign(s, 0.4, 2.0)))
    return (lambda x: elementwise.power(x, exponent)), [base]


@st.composite
def clipped(draw: Draw) -> Case:
    """Bounds lie between the grid's values; either may be missing."""
    low = draw(st.sampled_from([None, -3, -1.5, 0, 0.75]))
    high = draw(st.sampled_from([None, 0.75, 1.5, 3]))
    x = draw(ANY.flatmap(arrays))
    return (lambda x: elementwise.clip(x, low=low, high=high)), [x]


@st.composite
def chosen(draw: Draw) -> Case:
    """where(): the condition broadcasts as well, and either choice may be a number."""
    c, a, b = draw(broadcastable(3, max_dims=2))
    condition, call = draw(hnp.arrays(bool, c)), elementwise.where
    x, y = draw(arrays(a)), draw(arrays(b))
    forms = [
        (call, [condition, x, y]),
        (lambda c, x: call(c, x, 2), [condition, x]),
        (lambda c, y: call(c, 0.5, y), [condition, y]),
    ]
    return draw(st.sampled_from(forms))


@st.composite
def kept(draw: Draw) -> Case:
    """masked(): the mask broadcasts as well."""
    a, mask = draw(PAIRS)
    operands = [draw(arrays(a)), draw(hnp.arrays(bool, mask))]
    return elementwise.masked, operands


@st.composite
def reduction(
    draw: Draw, call: Call, of: Any = ANY, zeros: bool = False, **values: Any
) -> Case:
    """A function of an array that takes an axis and keepdims."""
    x = draw(of.flatmap(lambda s: arrays(s, **values)))
    if zeros:
        x = x * draw(hnp.arrays(bool, x.shape))
    axis, keepdims = draw(any_axis(x.ndim)), draw(st.booleans())
    return (lambda x: call(x, axis=axis, keepdims=keepdims)), [x]


@st.composite
def along_one(draw: Draw, call: Call, of: Any = FULL, **settings: Any) -> Case:
    """A function of an array along one axis."""
    x = draw(of.filter(len).flatmap(arrays))
    axis = draw(within(x.ndim))
    return (lambda x: call(x, axis=axis, **settings)), [x]


# -- shapes ------------------------------------------------------------------------


@st.composite
def reshaped(draw: Draw) -> Case:
    """To the axes in another order, with a 1 or flat; one size may be -1."""
    x = draw(ANY.flatmap(arrays))
    sizes = list(draw(st.permutations(x.shape)))
    if sizes and x.size and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    target = draw(st.sampled_from([tuple(sizes), (*sizes, 1), (x.size,), x.size]))
    return (lambda x: shape.reshape(x, shape=target)), [x]


@st.composite
def transposed(draw: Draw) -> Case:
    """Any order of the axes, counted from either end, or none."""
    x = draw(st.one_of(ANY, small(3, 3, 1, 2)).flatmap(arrays))
    cycle = (*range(1, x.ndim), *range(min(x.ndim, 1)))  # no inverse of itself
    order = draw(st.one_of(st.just(cycle), st.permutations(range(x.ndim))))
    order = tuple(i - x.ndim if draw(st.booleans()) else i for i in order)
    axes = draw(st.sampled_from([order, order, None]))
    return (lambda x: shape.transpose(x, axes=axes)), [x]


@st.composite
def swapped(draw: Draw) -> Case:
    """Any two axes, perhaps the same."""
    x = draw(ANY.filter(len).flatmap(arrays))
    first, second = draw(within(x.ndim)), draw(within(x.ndim))
    return (lambda x: shape.swapaxes(x, axis1=first, axis2=second)), [x]


@st.composite
def expanded(draw: Draw) -> Case:
    """One axis, or two in any order."""
    x = draw(small(0, 2, 0, 3).flatmap(arrays))
    one = draw(within(x.ndim + 1))
    two = draw(st.permutations(range(x.ndim + 2)))[:2]
    axis = draw(st.sampled_from([one, tuple(two), (-1, 0)]))
    return (lambda x: shape.expand_dims(x, axis=axis)), [x]


@st.composite
def squeezed(draw: Draw) -> Case:
    """One, some or all axes of size 1."""
    inner = draw(small(0, 2, 2, 3))
    place = draw(st.integers(0, len(inner)))
    sizes = (*inner[:place], 1, *inner[place:], 1)
    forms = [None, place, place - len(sizes), -1, (place,), (-1, place), ()]
    axis = draw(st.sampled_from(forms))
    return (lambda x: shape.squeeze(x, axis=axis)), [draw(arrays(sizes))]


@st.composite
def flipped(draw: Draw) -> Case:
    """Along any axes."""
    x = draw(ANY.flatmap(arrays))
    axis = draw(any_axis(x.ndim))
    return (lambda x: shape.flip(x, axis=axis)), [x]


@st.composite
def broadcast(draw: Draw) -> Case:
    """To wider shapes, some of them with an axis more."""
    narrow, wide = draw(PAIRS)
    whole = np.broadcast_shapes(narrow, wide)
    target = (*draw(st.sampled_from([(), (2,)])), *whole)
    return (lambda x: shape.broadcast_to(x, shape=target)), [draw(arrays(narrow))]


@st.composite
def summed_to(draw: Draw) -> Case:
    """The way back from every broadcast."""
    narrow, wide = draw(PAIRS)
    whole = np.broadcast_shapes(narrow, wide)
    return (lambda x: shape.sum_to(x, shape=narrow)), [draw(arrays(whole))]


@st.composite
def padded(draw: Draw) -> Case:
    """Nothing to two elements on each side of each axis."""
    x = draw(small(0, 2, 0, 3).flatmap(arrays))
    width = st.tuples(st.integers(0, 2), st.integers(0, 2))
    widths = tuple(draw(width) for _ in x.shape)
    value = draw(st.sampled_from([0, 1, -0.5]))
    return (lambda x: shape.pad(x, widths=widths, value=value)), [x]


@st.composite
def converted(draw: Draw) -> Case:
    """To float64, which changes nothing here."""
    x = draw(ANY.flatmap(arrays))
    return (lambda x: shape.astype(x, dtype="float64")), [x]


# -- joining and parting -----------------------------------------------------------


@st.composite
def joined(draw: Draw, call: Call, new_axis: bool) -> Case:
    """Concatenate or stack: also the same Tensor twice, and a constant among them."""
    sizes = draw(small(0 if new_axis else 1, 2, 1, 2))
    axis = draw(within(len(sizes) + new_axis))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        part = list(sizes)
        if not new_axis:
            part[axis] = draw(st.integers(0, 2))
        parts.append(draw(arrays(tuple(part))))
    constant = Constant(np.full(sizes, 0.5))
    forms = [
        (lambda *x: call(x, axis=axis), parts),
        (lambda *x: call([x[0], *x], axis=axis), parts),
        (lambda *x: call(x, axis=axis), [*parts, constant]),
    ]
    return draw(st.sampled_from(forms))


@st.composite
def parted(draw: Draw) -> Case:
    """split: into equal parts, or parts of given sizes, some empty."""
    x = draw(small(1, 2, 1, 4).flatmap(arrays))
    axis = draw(within(x.ndim))
    whole = x.shape[axis]
    cut = draw(st.integers(0, whole))
    equal = draw(st.sampled_from([n for n in (1, 2, 3, 4) if whole % n == 0]))
    sizes = draw(st.sampled_from([equal, (cut, whole - cut), [whole - cut, cut]]))
    return used(draw, lambda x: shape.split(x, sizes, axis=axis)), [x]


@st.composite
def unstacked(draw: Draw) -> Case:
    """Along any axis."""
    x = draw(small(1, 3, 1, 3).flatmap(arrays))
    axis = draw(within(x.ndim))
    return used(draw, lambda x: shape.unstack(x, axis=axis)), [x]


def used(draw: Draw, call: Call) -> Call:
    """All parts that `call` returns, or the last alone: the others get no gradient."""
    return draw(st.sampled_from([call, lambda x: call(x)[-1]]))


# -- indexing ----------------------------------------------------------------------


@st.composite
def cropped(draw: Draw) -> Case:
    """Integers, slices with steps of both signs, None and Ellipsis."""
    sizes = draw(small(0, 3, 1, 4))
    key = draw(hnp.basic_indices(sizes, allow_newaxis=True))
    return (lambda x: index.getitem(x, key)), [draw(arrays(sizes))]


@st.composite
def placed(draw: Draw) -> Case:
    """The way back from every crop."""
    sizes = draw(small(1, 3, 1, 4))
    key = draw(hnp.basic_indices(sizes, allow_newaxis=True))
    key = key if isinstance(key, tuple) else (key,)
    part = np.empty(sizes)[key].shape
    data = tuple(
        Slice(i.start, i.stop, i.step) if isinstance(i, slice) else i for i in key
    )
    x = draw(arrays(part))
    return (lambda x: shape.place(x, shape=sizes, index=data)), [x]


@st.composite
def likelihoods(draw: Draw, slope: bool) -> Case:
    """Rows that count, by any of their classes, and rows that do not."""
    N, C = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    ids = np.array(draw(st.lists(st.integers(-1, C - 1), min_size=N, max_size=N)), int)
    scores = draw(arrays((N, C)))
    if slope:
        return losses.likelihood_gradient, [draw(arrays((N,))), scores, ids]
    return losses.negative_log_likelihood, [scores, ids]


@st.composite
def binary_entropies(draw: Draw) -> Case:
    """Scores and targets that broadcast; either may be a constant."""
    a, b = map(draw, map(arrays, draw(PAIRS)))
    forms = [[a, b], [a, Constant(b)], [Constant(a), b]]
    return losses.binary_cross_entropy, draw(st.sampled_from(forms))


# -- windows -----------------------------------------------------------------------


class Sliding:
    """Drawn sizes of an image and a window, and how the window moves."""

    def __init__(self, draw: Draw, padding: bool, dilated: bool = True) -> None:
        pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
        self.size = draw(pair)
        self.stride = draw(pair)
        self.dilation = draw(pair) if dilated else (1, 1)
        none = st.just((0, 0))
        self.padding = draw(
            st.sampled_from([(0, 0), (1, 0), (1, 1)]) if padding else none
        )
        more = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        steps = zip(self.size, self.dilation, self.padding, more, strict=True)
        self.image = tuple(max(1, d * (k - 1) + 1 - 2 * p) + m for k, d, p, m in steps)
        steps_out = zip(
            self.image, self.size, self.stride, self.padding, self.dilation, strict=True
        )
        self.counts = tuple(
            windows.positions(n + 2 * p, k, s, d) for n, k, s, p, d in steps_out
        )

    @property
    def moves(self) -> dict[str, Any]:
        """What says how a window moves, without padding."""
        return {"stride": self.stride, "dilation": self.dilation}


@st.composite
def unfolded(draw: Draw) -> Case:
    """All windows of one or two images."""
    s = Sliding(draw, padding=False)
    x = draw(arrays((draw(st.integers(1, 2)), *s.image)))
    return (lambda x: windows.unfold(x, size=s.size, **s.moves)), [x]


@st.composite
def folded(draw: Draw) -> Case:
    """Windows, back where they came from."""
    s = Sliding(draw, padding=False)
    x = draw(arrays((*s.size, *s.counts)))
    return (lambda x: windows.fold(x, shape=s.image, **s.moves)), [x]


@st.composite
def convolved(draw: Draw, which: str) -> Any:
    """One of the three convolutions, with windows of a single element among them."""
    s = Sliding(draw, padding=True)
    N, C, outputs = (draw(st.integers(1, 2)) for _ in range(3))
    images, weights = (N, C, *s.image), (outputs, C, *s.size)
    results = (N, outputs, *s.counts)
    moves = {**s.moves, "padding": s.padding}
    pair: tuple[Size, Size]
    if which == "conv2d":
        pair = (images, weights)
    elif which == "conv2d_to_input":
        pair, moves["shape"] = (results, weights), s.image
    else:
        pair, moves["size"] = (images, results), s.size
    call = partial(getattr(convolution, which), **moves)
    return call, [draw(arrays(shape)) for shape in pair]


@st.composite
def rectified(draw: Draw) -> Case:
    """conv2d_relu with what is cut in the middle of a gap between its values."""
    call, (x, w) = draw(convolved("conv2d"))
    settings = call.keywords
    y = np.sort(convolution.conv2d(x, w, **settings).swapaxes(0, 1).reshape(len(w), -1))
    beyond = y[:, :1] - 1, y[:, -1:] + 1
    y = np.concatenate([beyond[0], y, beyond[1]], axis=1)
    widest = np.diff(y).argmax(axis=1)
    rows = np.arange(len(w))
    b = -(y[rows, widest] + y[rows, widest + 1]) / 2
    return partial(convolution.conv2d_relu, **settings), [x, w, b]


@st.composite
def rectified_back(draw: Draw) -> Case:
    """What conv2d_relu's gradient is, for any pattern of what has passed."""
    call, (v, w) = draw(convolved("conv2d_to_input"))
    passed = draw(hnp.arrays(bool, v.shape))
    back = partial(convolution.conv2d_relu_to_input, **call.keywords)
    return back, [v, w, Constant(passed)]


@st.composite
def pooled(draw: Draw, which: str) -> Case:
    """The largest of windows that may overlap, or what stands there, or goes there."""
    s = Sliding(draw, padding=False, dilated=False)
    settings: dict[str, Any] = {"size": s.size, "stride": s.stride}
    x = draw(arrays((draw(st.integers(1, 2)), *s.image), distinct=True))
    call = getattr(pooling, which)
    if which == "max_pool2d":
        return (lambda x: call(x, **settings)), [x]
    places = st.integers(0, s.size[0] * s.size[1] - 1)
    there = draw(hnp.arrays(np.uint8, (len(x), *s.counts), elements=places))
    if which == "to_largest":
        settings["shape"] = s.image
        x = draw(arrays(there.shape))
    return (lambda v, places: call(v, places, **settings)), [x, Constant(there)]


def ids(n: int, size: Any = None) -> st.SearchStrategy[Any]:
    """Integers that index an axis of size n, from either end, with repeats."""
    of = small(0, 2, 0, 3) if size is None else st.just(size)
    return hnp.arrays(np.int64, of, elements=st.integers(-n, n - 1))


@st.composite
def keys(draw: Draw, sizes: Size) -> Any:
    """Keys that hold arrays: integers with repeats, masks, and mixtures with slices."""
    kind = draw(st.sampled_from(["ids", "mask", "rows", "mixed", "list"]))
    if kind == "mask":
        return draw(hnp.arrays(bool, sizes))
    if kind == "rows":
        return draw(hnp.arrays(bool, sizes[:1]))
    if kind == "list":
        return draw(st.lists(st.integers(-sizes[0], sizes[0] - 1)))
    if kind == "ids":
        return draw(hnp.integer_array_indices(sizes))
    key = [
        draw(
            st.sampled_from(
                [slice(None), slice(None, None, -1), -1, draw(ids(n, (2,)))]
            )
        )
        for n in sizes
    ]
    key[draw(st.integers(0, len(sizes) - 1))] = draw(ids(min(sizes), (3, 1)))
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    return (Ellipsis, *key) if draw(st.booleans()) else tuple(key)


@st.composite
def gathered(draw: Draw) -> Case:
    """By every key that holds arrays."""
    sizes = draw(small(1, 3, 1, 3))
    key = draw(keys(sizes))
    parts = key if isinstance(key, tuple) else (key,)
    ids = [part for part in parts if isinstance(part, np.ndarray)]
    return (lambda x, *ids: index.getitem(x, filled(key, ids))), [
        draw(arrays(sizes)),
        *ids,
    ]


def filled(key: Any, ids: Any) -> Any:
    """The key with other arrays, of another device perhaps, in place of its own."""
    if not isinstance(key, tuple):
        return ids[0] if isinstance(key, np.ndarray) else key
    others = iter(ids)
    return tuple(next(others) if isinstance(k, np.ndarray) else k for k in key)


@st.composite
def scattered(draw: Draw) -> Case:
    """scatter_add along one axis, at rows, at pairs, or where a mask holds."""
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    rows, columns = draw(ids(n, (3,))), draw(ids(m, (3,)))
    mask = draw(hnp.arrays(bool, (n, m)))
    forms = {
        "rows": ((3, m), (rows,), (IDS,)),
        "columns": ((n, 3), (columns,), (Slice(None, None, None), IDS)),
        "pairs": ((3,), (rows, columns), (IDS, IDS)),
        "mask": ((int(mask.sum()),), (mask,), (IDS,)),
    }
    part, where, key = forms[draw(st.sampled_from(sorted(forms)))]
    x = draw(arrays(part))
    return (lambda x, *ids: index.scatter_add(x, *ids, shape=(n, m), index=key)), [
        x,
        *where,
    ]


@st.composite
def scattered_along(draw: Draw) -> Case:
    """The function: one axis, ids of one axis or two."""
    ids = np.array(draw(st.lists(st.integers(-3, 2), min_size=1, max_size=4)))
    ids = draw(st.sampled_from([ids, ids.reshape(1, -1)]))
    axis = draw(st.integers(0, 1))
    sizes = (2,) * axis
    values = draw(arrays((*sizes, *ids.shape, 2)))
    return (lambda v, ids: functions.scatter_add(v, ids, 3, axis=axis)), [values, ids]


@st.composite
def taken(draw: Draw) -> Case:
    """By arrays and lists of ids, along any axis."""
    x = draw(small(1, 3, 1, 3).flatmap(arrays))
    axis = draw(within(x.ndim))
    where = draw(ids(x.shape[axis]))
    listed = where.tolist()
    forms = [
        (lambda x, ids: functions.take(x, ids, axis=axis), [x, where]),
        (lambda x: functions.take(x, listed, axis=axis), [x]),
    ]
    return draw(st.sampled_from(forms))


# -- products ----------------------------------------------------------------------

# Plain matrices more often: they have a way of their own.
LEFT_BATCHES = [(), (), (), (), (2,), (1,), (2, 1), (1, 2)]
RIGHT_BATCHES = [(), (), (), (), (2,), (1,), (2,), (2, 1)]


@st.composite
def products(draw: Draw) -> Case:
    """matmul: vectors, matrices and batches that broadcast, on either side."""
    n, k, m = (draw(st.sampled_from([0, 1, 2, 2, 3])) for _ in range(3))
    left = draw(st.sampled_from([(k,), *((*b, n, k) for b in LEFT_BATCHES)]))
    right = draw(st.sampled_from([(k,), *((*b, k, m) for b in RIGHT_BATCHES)]))
    a, b = draw(arrays(left)), draw(arrays(right))
    forms: dict[str, Case] = {
        "both": (linalg.matmul, [a, b]),
        "array on the left": (linalg.matmul, [Constant(a), b]),
        "array on the right": (linalg.matmul, [a, Constant(b)]),
    }
    if left == right and (len(left) == 1 or n == k):
        forms["the same twice"] = (lambda x: linalg.matmul(x, x), [a])
    return forms[draw(st.sampled_from([*["both"] * 3, *sorted(forms)]))]


EQUATIONS = [
    *("ij,jk->ik", "ij,jk", "i,i", "i,i->", "i,j->ij", "i,j->ji", "ij->ji", "ij->"),
    *("ij->j", "ii", "ii->", "ii->i", "iij->j", "iji->j", "i->i", "i,->", ",->"),
    *("bij,bjk->bik", "bij,bjk", "bij,jk->kib", "bij,bkj->bik", "bihd,bjhd->bhij"),
    *("ij,ij->i", "ij,ij->", "ij,ji->", "ij,k->", "ij,kj,k->ik", "ij,jk,kl->il"),
    *("i,i,i->i", "ab,cb,ab->ca"),
]


@st.composite
def einsums(draw: Draw) -> Case:
    """Every kind of equation."""
    equation = draw(st.sampled_from(EQUATIONS))
    parts = equation.split("->")[0].split(",")
    most = 2 if len(parts) > 2 or len(equation) > 11 else 3
    letters = sorted(set("".join(parts)))
    size = {letter: draw(st.integers(1, most)) for letter in letters}
    if "h" in size:
        size |= {"b": 1, "d": 1}
    operands = [draw(arrays(tuple(size[i] for i in part))) for part in parts]
    return (lambda *x: functions.einsum(equation, *x)), operands


# -- statistics --------------------------------------------------------------------


@st.composite
def spreads(draw: Draw, call: Call) -> Case:
    """Var and std: distinct values, so that the root's derivative is finite."""
    x = draw(small(1, 2, 2, 3).flatmap(lambda s: arrays(s, distinct=True)))
    axis = draw(any_axis(x.ndim).filter(lambda axis: axis != ()))
    keepdims, ddof = draw(st.booleans()), draw(st.integers(0, 1))
    return (lambda x: call(x, axis=axis, keepdims=keepdims, ddof=ddof)), [x]


@st.composite
def dropped(draw: Draw) -> Case:
    """Nothing to nearly everything is dropped."""
    x = draw(ANY.flatmap(arrays))
    p, seed = draw(st.sampled_from([0, 0.25, 0.5, 0.9])), draw(st.integers(0, 99))
    return (lambda x: functions.dropout(x, p, Generator(seed))), [x]


DISTINCT: dict[str, Any] = {"of": FULL, "distinct": True}

PRIMITIVES: dict[str, Cases] = {
    "add": binary(elementwise.add),
    "subtract": binary(elementwise.subtract),
    "multiply": binary(elementwise.multiply),
    "divide": binary(elementwise.divide),
    "power": powers(),
    "negative": unary(elementwise.negative),
    "absolute": unary(elementwise.absolute),
    "sqrt": unary(elementwise.sqrt),
    "exp": unary(elementwise.exp),
    "exp_difference": binary(elementwise.exp_difference),
    "log": unary(elementwise.log),
    "log1p": unary(elementwise.log1p),
    "expm1": unary(elementwise.expm1),
    "tanh": unary(elementwise.tanh),
    "sigmoid": unary(elementwise.sigmoid),
    "sigmoid_derivative": unary(elementwise.sigmoid_derivative),
    "gate": unary(elementwise.gate),
    "relu": unary(elementwise.relu),
    "softplus": unary(elementwise.softplus),
    "sin": unary(elementwise.sin),
    "cos": unary(elementwise.cos),
    "maximum": binary(elementwise.maximum, number=0, same=False),
    "minimum": binary(elementwise.minimum, number=0, same=False),
    "clip": clipped(),
    "where": chosen(),
    "masked": kept(),
    "sum": reduction(reduce.sum),
    "prod": reduction(reduce.prod, zeros=True),
    "max": reduction(reduce.max, **DISTINCT),
    "min": reduction(reduce.min, **DISTINCT),
    "logsumexp": reduction(reduce.logsumexp, of=FULL),
    "cumsum": along_one(reduce.cumsum, of=ANY),
    "softmax": along_one(reduce.softmax),
    "log_softmax": along_one(reduce.log_softmax),
    "matmul": products(),
    "reshape": reshaped(),
    "transpose": transposed(),
    "swapaxes": swapped(),
    "expand_dims": expanded(),
    "squeeze": squeezed(),
    "flip": flipped(),
    "astype": converted(),
    "broadcast_to": broadcast(),
    "sum_to": summed_to(),
    "crop": cropped(),
    "place": placed(),
    "pad": padded(),
    "concatenate": joined(shape.concatenate, new_axis=False),
    "stack": joined(shape.stack, new_axis=True),
    "split": parted(),
    "unstack": unstacked(),
    "gather": gathered(),
    "scatter_add": scattered(),
    "negative_log_likelihood": likelihoods(slope=False),
    "likelihood_gradient": likelihoods(slope=True),
    "binary_cross_entropy": binary_entropies(),
    "unfold": unfolded(),
    "fold": folded(),
    "conv2d": convolved("conv2d"),
    "conv2d_relu": rectified(),
    "conv2d_relu_to_input": rectified_back(),
    "conv2d_to_input": convolved("conv2d_to_input"),
    "conv2d_to_weight": convolved("conv2d_to_weight"),
    "max_pool2d": pooled("max_pool2d"),
    "to_largest": pooled("to_largest"),
    "at_largest": pooled("at_largest"),
}

COMPOSED: dict[str, Cases] = {
    "mean": reduction(functions.mean, of=FULL),
    "var": spreads(functions.var),
    "std": spreads(functions.std),
    "norm": reduction(functions.norm, of=FULL),
    "softmax": along_one(functions.softmax),
    "log_softmax": along_one(functions.log_softmax),
    "dropout": dropped(),
    "take": taken(),
    # Of the same name as the primitive that it calls, so both are drawn.
    "scatter_add": st.one_of(scattered(), scattered_along()),
    "einsum": einsums(),
}

# Functions that make tensors or constants: nothing to differentiate.
MAKERS = {"full", "zeros", "ones", "asarray", "from_dlpack", "one_hot", "arange"}
MAKERS |= {"bernoulli"}

A = np.array([1.0, -2.0, 0.0])
B = np.array([1.0, 3.0, -1.0])

# Primitives without a rule: operands, settings, and what they return.
STATE = np.array([1, 2, 0], np.uint64)  # of a generator
CONSTANTS: dict[str, tuple[list[np.ndarray], dict[str, Any], Any]] = {
    "within": ([A], {"low": -1, "high": None}, [True, False, True]),
    "equal": ([A, B], {}, [True, False, False]),
    "not_equal": ([A, B], {}, [False, True, True]),
    "greater": ([A, B], {}, [False, False, True]),
    "greater_equal": ([A, B], {}, [True, False, True]),
    "less": ([A, B], {}, [False, True, False]),
    "less_equal": ([A, B], {}, [True, True, False]),
    "logical_not": ([A], {}, [False, False, True]),
    "moved": ([A], {"device": "cpu"}, A.tolist()),
    "logical_and": ([A, B], {}, [True, True, False]),
    "logical_or": ([A, B], {}, [True, True, True]),
    "bitwise_not": ([np.array([0, 5])], {}, [-1, -6]),
    "bitwise_and": ([np.array([6, 5]), np.array([3, 4])], {}, [2, 4]),
    "bitwise_or": ([np.array([6, 5]), np.array([3, 4])], {}, [7, 5]),
    "filled": ([], {"shape": (2,), "value": 3.0, "dtype": "float32"}, [3, 3]),
    "full_like": ([A], {"value": 1.0, "shape": None}, [1, 1, 1]),
    "arange": ([], {"start": 1, "stop": 4}, [1, 2, 3]),
    "bernoulli": ([STATE], {"shape": (3,), "p": 1.0}, [True, True, True]),
    "finite_max": ([np.array([-np.inf, 2.0])], {"axis": 0}, [2]),
    "argmax": ([A], {"axis": 0}, 0),
    "argmin": ([A], {}, 1),
}


# -- our primitives ----------------------------------------------------------------

# Not as the registry has them: a test's own may have the same name.
OURS: dict[str, Call] = {
    call.primitive.name: call
    for name, module in list(sys.modules.items())
    if name.startswith("minigrad.")
    for call in vars(module).values()
    if isinstance(getattr(call, "primitive", None), Primitive)
}


def calls_of(primitive: Call) -> Cases:
    """Calls of one of our own primitives, in every form that it takes."""
    return PRIMITIVES[primitive_of(primitive).name]


def whole_calls_of(primitive: Call) -> Cases:
    """Those calls that differentiate by all operands, each of two numbers or more."""
    return whole(calls_of(primitive), primitive)
