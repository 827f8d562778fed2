"""How is each operation drawn?  Its calls and operands, in every form it takes.

A case is a Hypothesis strategy of (f, arrays): `f` takes the arrays as Tensors, and its
gradients by each of them are compared with finite differences. Values keep a margin
from kinks, ties and the ends of domains, so that the differences' step stays clear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import functions
from minigrad.ops import elementwise, index, linalg, reduce, shape
from minigrad.ops.index import IDS
from minigrad.ops.shape import Slice
from minigrad.testing import arrays, axes, broadcastable, shapes

Call = Callable[..., Any]
LARGEST = 12  # elements: a second-order check costs several gradients an element


def small(*ranges: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of at most LARGEST elements: (min_dims, max_dims, min_side, max_side)."""
    return shapes(*ranges).filter(lambda s: int(np.prod(s, dtype=int)) <= LARGEST)


ANY = small(0, 3, 0, 3)  # 0-d and empty ones too
FULL = small(0, 3, 1, 3)
PAIRS = broadcastable(2, max_dims=2)


# -- operands ----------------------------------------------------------------------


@st.composite
def either_sign(draw, shape, low, high):
    """Values of both signs with magnitudes in [low, high]."""
    signs = draw(hnp.arrays(float, shape, elements=st.sampled_from([-1.0, 1.0])))
    return draw(arrays(shape, low, high)) * signs


@st.composite
def any_axis(draw, ndim):
    """Every form of an axis, tuples with negative members and the empty one too."""
    axis = draw(st.one_of(axes(ndim), st.just(())))
    if not isinstance(axis, tuple):
        return axis
    return tuple(i - ndim if draw(st.booleans()) else i for i in axis)


def within(ndim):
    """One axis of an array, counted from either end."""
    return st.integers(-ndim, ndim - 1)


# -- forms of a call ---------------------------------------------------------------


def unary(call: Call, low: float = -3.0, high: float = 3.0):
    """Cases of a function of one array, element by element."""
    return ANY.flatmap(lambda s: arrays(s, low, high)).map(lambda a: (call, [a]))


def between(low, high):
    """The strategy of an operand whose values lie in a range."""
    return lambda s: arrays(s, low, high)


ANYWHERE = between(-3.0, 3.0)


@st.composite
def binary(draw, call, left=ANYWHERE, right=ANYWHERE, number=1.7, same=True):
    """Cases of a function of two arrays that broadcast.

    Both are Tensors, or one is an array or a Python number on either side, or both are
    the same Tensor.
    """
    first, second = draw(PAIRS)
    a, b = draw(left(first)), draw(right(second))
    forms = {
        "both": (call, [a, b]),
        "array on the left": (lambda y: call(a, y), [b]),
        "array on the right": (lambda x: call(x, b), [a]),
        "number on the left": (lambda y: call(number, y), [b]),
        "number on the right": (lambda x: call(x, number), [a]),
    }
    if same:
        forms["the same twice"] = (lambda x: call(x, x), [np.abs(a) + 0.3])
    return forms[draw(st.sampled_from(sorted(forms)))]


@st.composite
def powers(draw):
    """A ** b: positive bases, or bases of both signs with an integer number."""
    if draw(st.booleans()):
        return draw(binary(elementwise.power, between(0.3, 3.0), between(-2.0, 3.0)))
    exponent = draw(st.sampled_from([-2, -1, 0, 1, 2, 3, 4.0]))
    base = draw(FULL.flatmap(lambda s: either_sign(s, 0.4, 2.0)))
    return (lambda x: elementwise.power(x, exponent)), [base]


@st.composite
def clipped(draw):
    """Bounds lie between the grid's values; either may be missing."""
    low = draw(st.sampled_from([None, -3, -1.5, 0, 0.75]))
    high = draw(st.sampled_from([None, 0.75, 1.5, 3]))
    x = draw(ANY.flatmap(arrays))
    return (lambda x: elementwise.clip(x, low=low, high=high)), [x]


@st.composite
def chosen(draw):
    """where(): the condition broadcasts as well, and either choice may be a number."""
    c, a, b = draw(broadcastable(3, max_dims=2))
    condition = draw(hnp.arrays(bool, c))
    call = lambda x, y: elementwise.where(condition, x, y)  # noqa: E731
    both, left = (call, [draw(arrays(a)), draw(arrays(b))]), lambda x: call(x, 2)
    return draw(
        st.sampled_from(
            [both, (left, both[1][:1]), (lambda y: call(0.5, y), both[1][1:])]
        )
    )


@st.composite
def reduction(draw, call, of=ANY, zeros=False, **values):
    """A function of an array that takes an axis and keepdims."""
    x = draw(of.flatmap(lambda s: arrays(s, **values)))
    if zeros:
        x = x * draw(hnp.arrays(bool, x.shape))
    axis, keepdims = draw(any_axis(x.ndim)), draw(st.booleans())
    return (lambda x: call(x, axis=axis, keepdims=keepdims)), [x]


@st.composite
def along_one(draw, call, of=FULL, **settings):
    """A function of an array along one axis."""
    x = draw(of.filter(len).flatmap(arrays))
    axis = draw(within(x.ndim))
    return (lambda x: call(x, axis=axis, **settings)), [x]


# -- shapes ------------------------------------------------------------------------


@st.composite
def reshaped(draw):
    x = draw(ANY.flatmap(arrays))
    sizes = list(draw(st.permutations(x.shape)))
    if sizes and x.size and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    target = draw(st.sampled_from([tuple(sizes), (*sizes, 1), (x.size,), x.size]))
    return (lambda x: shape.reshape(x, shape=target)), [x]


@st.composite
def transposed(draw):
    x = draw(ANY.flatmap(arrays))
    order = draw(st.permutations(range(x.ndim)))
    order = tuple(i - x.ndim if draw(st.booleans()) else i for i in order)
    order = draw(st.sampled_from([order, None]))
    return (lambda x: shape.transpose(x, axes=order)), [x]


@st.composite
def swapped(draw):
    x = draw(ANY.filter(len).flatmap(arrays))
    first, second = draw(within(x.ndim)), draw(within(x.ndim))
    return (lambda x: shape.swapaxes(x, axis1=first, axis2=second)), [x]


@st.composite
def expanded(draw):
    x = draw(small(0, 2, 0, 3).flatmap(arrays))
    one = draw(within(x.ndim + 1))
    two = draw(st.permutations(range(x.ndim + 2)))[:2]
    axis = draw(st.sampled_from([one, tuple(two), (-1, 0)]))
    return (lambda x: shape.expand_dims(x, axis=axis)), [x]


@st.composite
def squeezed(draw):
    inner = draw(small(0, 2, 2, 3))
    place = draw(st.integers(0, len(inner)))
    sizes = (*inner[:place], 1, *inner[place:], 1)
    forms = [None, place, place - len(sizes), -1, (place,), (-1, place), ()]
    axis = draw(st.sampled_from(forms))
    return (lambda x: shape.squeeze(x, axis=axis)), [draw(arrays(sizes))]


@st.composite
def flipped(draw):
    x = draw(ANY.flatmap(arrays))
    axis = draw(any_axis(x.ndim))
    return (lambda x: shape.flip(x, axis=axis)), [x]


@st.composite
def broadcast(draw):
    narrow, wide = draw(PAIRS)
    whole = np.broadcast_shapes(narrow, wide)
    target = (*draw(st.sampled_from([(), (2,)])), *whole)
    return (lambda x: shape.broadcast_to(x, shape=target)), [draw(arrays(narrow))]


@st.composite
def summed_to(draw):
    narrow, wide = draw(PAIRS)
    whole = np.broadcast_shapes(narrow, wide)
    return (lambda x: shape.sum_to(x, shape=narrow)), [draw(arrays(whole))]


@st.composite
def padded(draw):
    x = draw(small(0, 2, 0, 3).flatmap(arrays))
    width = st.tuples(st.integers(0, 2), st.integers(0, 2))
    widths = tuple(draw(width) for _ in x.shape)
    value = draw(st.sampled_from([0, 1, -0.5]))
    return (lambda x: shape.pad(x, widths=widths, value=value)), [x]


# -- joining and parting -----------------------------------------------------------


@st.composite
def joined(draw, call, new_axis):
    """Concatenate or stack: also the same Tensor twice, and a constant among them."""
    sizes = draw(small(0 if new_axis else 1, 2, 1, 2))
    axis = draw(within(len(sizes) + new_axis))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        part = list(sizes)
        if not new_axis:
            part[axis] = draw(st.integers(0, 2))
        parts.append(draw(arrays(tuple(part))))
    constant = np.full(sizes, 0.5)
    forms = [
        lambda *x: call(x, axis=axis),
        lambda *x: call([x[0], *x], axis=axis),
        lambda *x: call([*x, constant], axis=axis),
    ]
    return draw(st.sampled_from(forms)), parts


@st.composite
def parted(draw):
    """split: into equal parts, or parts of given sizes, some empty."""
    x = draw(small(1, 2, 1, 4).flatmap(arrays))
    axis = draw(within(x.ndim))
    whole = x.shape[axis]
    cut = draw(st.integers(0, whole))
    equal = draw(st.sampled_from([n for n in (1, 2, 3, 4) if whole % n == 0]))
    sizes = draw(st.sampled_from([equal, (cut, whole - cut), [whole - cut, cut]]))
    return used(draw, lambda x: shape.split(x, sizes, axis=axis)), [x]


@st.composite
def unstacked(draw):
    x = draw(small(1, 3, 1, 3).flatmap(arrays))
    axis = draw(within(x.ndim))
    return used(draw, lambda x: shape.unstack(x, axis=axis)), [x]


def used(draw, call):
    """All parts that `call` returns, or the last alone: the others get no gradient."""
    return draw(st.sampled_from([call, lambda x: call(x)[-1]]))


# -- indexing ----------------------------------------------------------------------


@st.composite
def cropped(draw):
    sizes = draw(small(0, 3, 1, 4))
    key = draw(hnp.basic_indices(sizes, allow_newaxis=True))
    return (lambda x: index.getitem(x, key)), [draw(arrays(sizes))]


@st.composite
def placed(draw):
    sizes = draw(small(1, 3, 1, 4))
    key = draw(hnp.basic_indices(sizes, allow_newaxis=True))
    key = key if isinstance(key, tuple) else (key,)
    part = np.empty(sizes)[key].shape
    data = tuple(
        Slice(i.start, i.stop, i.step) if isinstance(i, slice) else i for i in key
    )
    x = draw(arrays(part))
    return (lambda x: shape.place(x, shape=sizes, index=data)), [x]


def ids(n: int, size: Any = None):
    """Integers that index an axis of size n, from either end, with repeats."""
    of = small(0, 2, 0, 3) if size is None else st.just(size)
    return hnp.arrays(np.int64, of, elements=st.integers(-n, n - 1))


@st.composite
def keys(draw, sizes):
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
def gathered(draw):
    sizes = draw(small(1, 3, 1, 3))
    key = draw(keys(sizes))
    return (lambda x: index.getitem(x, key)), [draw(arrays(sizes))]


@st.composite
def scattered(draw):
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
    return (lambda x: index.scatter_add(x, *where, shape=(n, m), index=key)), [x]


@st.composite
def scattered_along(draw):
    ids = np.array(draw(st.lists(st.integers(-3, 2), min_size=1, max_size=4)))
    ids = draw(st.sampled_from([ids, ids.reshape(1, -1)]))
    axis = draw(st.integers(0, 1))
    sizes = (2,) * axis
    values = draw(arrays((*sizes, *ids.shape, 2)))
    return (lambda v: functions.scatter_add(v, ids, 3, axis=axis)), [values]


@st.composite
def taken(draw):
    x = draw(small(1, 3, 1, 3).flatmap(arrays))
    axis = draw(within(x.ndim))
    where = draw(ids(x.shape[axis]))
    where = draw(st.sampled_from([where, where.tolist()]))
    return (lambda x: functions.take(x, where, axis=axis)), [x]


# -- products ----------------------------------------------------------------------

LEFT_BATCHES = [(), (2,), (1,), (2, 1), (1, 2)]
RIGHT_BATCHES = [(), (2,), (1,), (2,), (2, 1)]


@st.composite
def products(draw):
    """matmul: vectors, matrices and batches that broadcast, on either side."""
    n, k, m = (draw(st.integers(0, 2)) for _ in range(3))
    left = draw(st.sampled_from([(k,), *((*b, n, k) for b in LEFT_BATCHES)]))
    right = draw(st.sampled_from([(k,), *((*b, k, m) for b in RIGHT_BATCHES)]))
    a, b = draw(arrays(left)), draw(arrays(right))
    forms = {
        "both": (linalg.matmul, [a, b]),
        "array on the left": (lambda y: linalg.matmul(a, y), [b]),
        "array on the right": (lambda x: linalg.matmul(x, b), [a]),
    }
    if left == right and (len(left) == 1 or n == k):
        forms["the same twice"] = (lambda x: linalg.matmul(x, x), [a])
    return forms[draw(st.sampled_from(sorted(forms)))]


EQUATIONS = [
    *("ij,jk->ik", "ij,jk", "i,i", "i,i->", "i,j->ij", "i,j->ji", "ij->ji", "ij->"),
    *("ij->j", "ii", "ii->", "ii->i", "iij->j", "iji->j", "i->i", "i,->", ",->"),
    *("bij,bjk->bik", "bij,bjk", "bij,jk->kib", "bij,bkj->bik", "bihd,bjhd->bhij"),
    *("ij,ij->i", "ij,ij->", "ij,ji->", "ij,k->", "ij,kj,k->ik", "ij,jk,kl->il"),
    *("i,i,i->i", "ab,cb,ab->ca"),
]


@st.composite
def einsums(draw):
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
def spreads(draw, call):
    """Var and std: distinct values, so that the root's slope is finite."""
    x = draw(small(1, 2, 2, 3).flatmap(lambda s: arrays(s, distinct=True)))
    axis = draw(any_axis(x.ndim).filter(lambda axis: axis != ()))
    keepdims, ddof = draw(st.booleans()), draw(st.integers(0, 1))
    return (lambda x: call(x, axis=axis, keepdims=keepdims, ddof=ddof)), [x]


@st.composite
def dropped(draw):
    x = draw(ANY.flatmap(arrays))
    p, seed = draw(st.sampled_from([0, 0.25, 0.5, 0.9])), draw(st.integers(0, 99))
    return (lambda x: functions.dropout(x, p, mg.Generator(seed))), [x]


DISTINCT = {"of": FULL, "distinct": True}
OFF_GRID = between(-2.97, 3.03)  # never ties with a value of the default range

PRIMITIVES: dict[str, st.SearchStrategy] = {
    "add": binary(elementwise.add),
    "subtract": binary(elementwise.subtract),
    "multiply": binary(elementwise.multiply),
    "divide": binary(elementwise.divide, right=lambda s: either_sign(s, 0.5, 3.0)),
    "power": powers(),
    "negative": unary(elementwise.negative),
    "absolute": unary(elementwise.absolute),
    "sqrt": unary(elementwise.sqrt, 0.3),
    "exp": unary(elementwise.exp),
    "exp_difference": binary(elementwise.exp_difference),
    "log": unary(elementwise.log, 0.3),
    "log1p": unary(elementwise.log1p, -0.7),
    "expm1": unary(elementwise.expm1),
    "tanh": unary(elementwise.tanh),
    "sigmoid": unary(elementwise.sigmoid),
    "relu": unary(elementwise.relu),
    "softplus": unary(elementwise.softplus),
    "sin": unary(elementwise.sin),
    "cos": unary(elementwise.cos),
    "maximum": binary(elementwise.maximum, right=OFF_GRID, number=0, same=False),
    "minimum": binary(elementwise.minimum, right=OFF_GRID, number=0, same=False),
    "clip": clipped(),
    "where": chosen(),
    "sum": reduction(reduce.sum),
    "prod": reduction(reduce.prod, zeros=True),
    "max": reduction(reduce.max, **DISTINCT),
    "min": reduction(reduce.min, **DISTINCT),
    "logsumexp": reduction(reduce.logsumexp, of=FULL),
    "cumsum": along_one(reduce.cumsum, of=ANY),
    "matmul": products(),
    "reshape": reshaped(),
    "transpose": transposed(),
    "swapaxes": swapped(),
    "expand_dims": expanded(),
    "squeeze": squeezed(),
    "flip": flipped(),
    "astype": unary(lambda x: shape.astype(x, dtype="float64")),
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
}

COMPOSED: dict[str, st.SearchStrategy] = {
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
MAKERS = {"full", "zeros", "ones", "asarray", "one_hot"}

A = np.array([1.0, -2.0, 0.0])
B = np.array([1.0, 3.0, -1.0])

# Primitives without a rule: operands, settings, and what they return.
CONSTANTS: dict[str, tuple[list[np.ndarray], dict[str, Any], Any]] = {
    "sign": ([A], {}, [1, -1, 0]),
    "within": ([A], {"low": -1, "high": None}, [True, False, True]),
    "equal": ([A, B], {}, [True, False, False]),
    "not_equal": ([A, B], {}, [False, True, True]),
    "greater": ([A, B], {}, [False, False, True]),
    "greater_equal": ([A, B], {}, [True, False, True]),
    "less": ([A, B], {}, [False, True, False]),
    "less_equal": ([A, B], {}, [True, True, False]),
    "logical_not": ([A], {}, [False, False, True]),
    "logical_and": ([A, B], {}, [True, True, False]),
    "logical_or": ([A, B], {}, [True, True, True]),
    "argmax": ([A], {"axis": 0}, 0),
    "argmin": ([A], {}, 1),
}
