"""The kinds of operations that compute: functions, arithmetic, products, reductions.

Each adds one operation on a value to a draft, if it fits there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.support.draft import BOUND, Choices, Draft, size_of
from tests.support.program import Shape
from tests.support.series import RULES

Kind = Callable[[Draft, int, Choices], bool]


class Function(NamedTuple):
    """An elementwise function: its line, where it is tame, and whether it is monotone.

    Where it is not, `range` holds its bounds.
    """

    text: str
    low: float = -np.inf
    high: float = np.inf
    range: tuple[float, float] | None = None
    settings: tuple[tuple[str, float], ...] = ()


FUNCTIONS = {
    "sin": Function("mg.sin({0})", range=(-1, 1)),
    "negative": Function("-{0}"),
    "tanh": Function("mg.tanh({0})"),
    "cos": Function("mg.cos({0})", range=(-1, 1)),
    "sigmoid": Function("mg.sigmoid({0})"),
    "softplus": Function("mg.softplus({0})"),
    "scale": Function("{0} * 0.5", settings=(("factor", 0.5),)),
    "shift": Function("2.0 - {0}", settings=(("number", 2.0),)),
    "exp": Function("mg.exp({0})", high=1.3),
    "expm1": Function("mg.expm1({0})", high=1.3),
    "log": Function("mg.log({0})", low=0.25),
    "log1p": Function("mg.log1p({0})", low=-0.6),
    "sqrt": Function("mg.sqrt({0})", low=0.1),
    "reciprocal": Function("0.75 / {0}", low=0.3, settings=(("number", 0.75),)),
    "square": Function("{0} ** 2", -2, 2, (0, 4)),
    "cube": Function("{0} ** 3.0", -1.5, 1.5),
    "absolute": Function("abs({0})", range=(0, BOUND)),
    "relu": Function("mg.relu({0})"),
    "clip": Function(
        "{0}.clip(-0.7, 0.9)",
        settings=(("low", -0.7), ("high", 0.9)),
    ),
}


def function(name: str) -> Kind:
    """The kind of operation that applies one of FUNCTIONS."""
    what = FUNCTIONS[name]

    def add(draft: Draft, x: int, pick: Choices) -> bool:
        low, high = draft.bounds[x]
        if low < what.low or high > what.high:
            return False
        settings = dict(what.settings)
        ends = RULES[name]([np.array([low, high])], **settings)[0]
        bounds = what.range or (float(ends.min()), float(ends.max()))
        return draft.put(name, what.text, [x], settings, bounds, pick)

    return add


def _corners(name: str, a: tuple[float, float], b: tuple[float, float]) -> Any:
    """The range of an operation that is monotone in each operand."""
    x, y = np.array([a[0], a[0], a[1], a[1]]), np.array([b[0], b[1], b[0], b[1]])
    values = RULES[name]([x], [y])[0]
    return float(values.min()), float(values.max())


BINARY = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "power": "{0} ** {1}",
    "maximum": "mg.maximum({0}, {1})",
    "minimum": "mg.minimum({0}, {1})",
}


def binary(name: str) -> Kind:
    """The kind of operation that applies one of BINARY, broadcasting."""

    def add(draft: Draft, x: int, pick: Choices) -> bool:
        shape = draft.shapes[x]
        y = draft.partner(x, lambda other: _broadcast(shape, other) is not None, pick)
        x, y = (y, x) if pick.below(2) else (x, y)
        a, b = draft.bounds[x], draft.bounds[y]
        if name == "divide" and b[0] < 0.3 and b[1] > -0.3:
            return False
        if name == "power" and (a[0] < 0.3 or max(-b[0], b[1]) > 2):
            return False
        bounds = _corners(name, a, b)
        return draft.put(name, BINARY[name], [x, y], {}, bounds, pick)

    return add


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape that two shapes broadcast to, if they do."""
    pairs = zip(a[::-1], b[::-1], strict=False)
    if any(m != n and m != 1 and n != 1 for m, n in pairs):
        return None
    return np.broadcast_shapes(a, b)


def where(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    y = draft.partner(x, lambda other: _broadcast(shape, other) is not None, pick)
    both = _broadcast(shape, draft.shapes[y]) or ()
    c = draft.partner(x, lambda other: _broadcast(both, other) is not None, pick)
    if c < 0:
        return False
    (a, b), (m, n) = draft.bounds[x], draft.bounds[y]
    bounds = (min(a, m), max(b, n))
    text = "mg.where({0} > 0.1, {1}, {2})"
    return draft.put("where", text, [c, x, y], {"over": 0.1}, bounds, pick)


def matmul(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape:
        return False
    y = draft.partner(x, lambda other: _multiplies(shape, other), pick)
    if y < 0:
        return False
    low, high = _corners("multiply", draft.bounds[x], draft.bounds[y])
    n = shape[-1]
    return draft.put("matmul", "{0} @ {1}", [x, y], {}, (n * low, n * high), pick)


def weigh(draft: Draft, x: int, pick: Choices) -> bool:
    """A product with a start, which so serves as a weight at many places."""
    shape = draft.shapes[x]
    fits = [
        i
        for i, start in enumerate(draft.starts)
        if len(start.shape) == len(shape) == 2 and start.shape[0] == shape[1]
    ]
    if not fits:
        return False
    y = pick.of(fits)
    low, high = _corners("multiply", draft.bounds[x], draft.bounds[y])
    n = shape[1]
    return draft.put("matmul", "{0} @ {1}", [x, y], {}, (n * low, n * high), pick)


def _multiplies(a: Shape, b: Shape) -> bool:
    if not b or a[-1] != b[max(len(b) - 2, 0)]:
        return False
    return _broadcast(a[:-2], b[:-2]) is not None


def reduction(name: str) -> Kind:
    """The kind of operation that reduces axes."""

    def add(draft: Draft, x: int, pick: Choices) -> bool:
        shape, (low, high) = draft.shapes[x], draft.bounds[x]
        axis = pick.axes(len(shape))
        count = _count(shape, axis)
        settings = {"axis": axis, "keepdims": bool(pick.below(2))}
        if count == 0 and name not in ("sum", "prod"):
            return False
        if name == "prod" and (count > 6 or max(-low, high) > 1.6):
            return False
        bounds = _reduced_bounds(name, low, high, count)
        return draft.simple(name, x, settings, bounds, pick)

    return add


def _count(shape: Shape, axis: Any) -> int:
    """How many elements a group has."""
    gone = range(len(shape)) if axis is None else axis
    gone = (gone,) if isinstance(gone, int) else gone
    return size_of(tuple(shape[i] for i in gone))


def _reduced_bounds(name: str, low: float, high: float, count: int) -> Any:
    largest = max(-low, high)
    return {
        "sum": (min(count * low, 0), max(count * high, 0)),
        "prod": (-(max(largest, 1) ** count), max(largest, 1) ** count),
        "var": (0, (high - low) ** 2 / 4),
        "logsumexp": (low, high + np.log(max(count, 1))),
    }.get(name, (low, high))


def along(name: str) -> Kind:
    """Kinds that take one axis of a value: softmax, running sums."""

    def add(draft: Draft, x: int, pick: Choices) -> bool:
        shape, (low, high) = draft.shapes[x], draft.bounds[x]
        if not shape:
            return False
        axis = pick.below(2 * len(shape)) - len(shape)
        n = max(shape[axis], 1)
        bounds = {
            "cumsum": (n * min(low, 0), n * max(high, 0)),
            "softmax": (0.0, 1.0),
            "log_softmax": (low - high - np.log(n), 0.0),
        }[name]
        if name != "cumsum" and shape[axis] == 0:
            return False
        return draft.simple(name, x, {"axis": axis}, bounds, pick)

    return add


OFTEN = ("add", "add", "multiply", "multiply")

KINDS: tuple[Kind, ...] = (
    *(function(name) for name in FUNCTIONS),
    *(binary(name) for name in (*BINARY, *OFTEN)),
    *(where, matmul, weigh, weigh),
    *(reduction(name) for name in ("sum", "mean", "var", "prod")),
    *(reduction(name) for name in ("max", "min", "logsumexp")),
    *(along(name) for name in ("cumsum", "softmax", "log_softmax")),
)
