"""Whole programs, drawn at random, as data.

A program is a list of operations with sharing. Printed it is a minigrad snippet, a line
an operation; `run` executes these very lines; `series` evaluates it without minigrad
(`tests.support.series`). Values and derivatives stay bounded by construction: each
value carries an interval, and what outgrows it is scaled or squashed at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad import functions
from minigrad.ops import elementwise, index, linalg, reduce, shape
from minigrad.tensor import Tensor
from tests.support.series import RULES

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Shape = tuple[int, ...]

LARGEST = 64  # elements of a value
BOUND = 4.0  # of the values' magnitudes

# What "mg" means in a program's lines.
_rooms = (elementwise, index, linalg, reduce, shape, functions)
_mg = SimpleNamespace(
    **{name: value for room in _rooms for name, value in vars(room).items()}
)
_mg.Tensor = Tensor


class Start(NamedTuple):
    """A value that a program starts from: a leaf, or a constant."""

    shape: Shape
    low: float
    high: float
    seed: tuple[int, int]
    constant: bool

    @property
    def text(self) -> str:
        """NumPy code for the value: the same numbers every time, no two equal."""
        seed, bounds = list(self.seed), f"{self.low}, {self.high}"
        return f"np.random.default_rng({seed}).uniform({bounds}, {self.shape})"

    @property
    def array(self) -> np.ndarray:
        """The value."""
        drawn = np.random.default_rng(list(self.seed)).uniform(
            self.low, self.high, self.shape
        )
        return np.asarray(drawn)


class Step(NamedTuple):
    """One operation: its kind, its line of minigrad, its operands and settings."""

    kind: str
    text: str
    operands: tuple[int, ...]
    settings: dict[str, Any]
    makes: tuple[int, ...]
    many: bool

    @property
    def line(self) -> str:
        """The operation as a line of Python."""
        made = ", ".join(f"v{i}" for i in self.makes)
        made = f"[{made}]" if self.many else made
        return f"{made} = {self.text.format(*(f'v{i}' for i in self.operands))}"

    def series(self, operands: Sequence[Any]) -> list[Any]:
        """The values as series, by a rule that knows no tape."""
        made = RULES[self.kind](*operands, **self.settings)
        return made if self.many else [made]


@dataclass(frozen=True)
class Program:
    """Operations on leaves and constants, each value named by its number.

    `outputs` are the values to be differentiated; what no output needs is there too.
    """

    starts: tuple[Start, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        head = ["import numpy as np", "import minigrad as mg"]
        starts = [
            f"v{i} = mg.Tensor({start.text}"
            + (")" if start.constant else ", requires_grad=True)")
            for i, start in enumerate(self.starts)
        ]
        outputs = ", ".join(f"v{i}" for i in self.outputs)
        return "\n".join([*head, *starts, *self._lines, f"outputs = [{outputs}]"])

    __repr__ = __str__

    @functools.cached_property
    def _lines(self) -> tuple[str, ...]:
        return tuple(step.line for step in self.steps)

    @property
    def leaves(self) -> list[np.ndarray]:
        """The values of the leaves, float64."""
        return [start.array for start in self.starts if not start.constant]

    def begin(self, *leaves: Tensor) -> dict[int, Tensor]:
        """The values before the first operation, by number, on the leaves' device."""
        given = iter(leaves)
        return {
            i: Tensor(start.array, device=leaves[0].device)
            if start.constant
            else next(given)
            for i, start in enumerate(self.starts)
        }

    def advance(self, values: dict[int, Tensor], first: int, last: int) -> None:
        """Run the lines of steps first, ..., last - 1 on `values`, which grow."""
        names: dict[str, Any] = {f"v{i}": value for i, value in values.items()}
        code = compile("\n".join(self._lines[first:last]), "<program>", "exec")
        exec(code, {"np": np, "mg": _mg}, names)
        for step in self.steps[first:last]:
            values.update({i: names[f"v{i}"] for i in step.makes})

    def run(self, *leaves: Tensor) -> list[Tensor]:
        """The outputs for these leaves, recorded where they require gradients."""
        values = self.begin(*leaves)
        self.advance(values, 0, len(self.steps))
        return [values[i] for i in self.outputs]

    def series(
        self,
        tangents: Sequence[np.ndarray],
        order: int = 1,
        noise: np.random.Generator | None = None,
    ) -> list[list[np.ndarray]]:
        """The outputs along leaves + t * tangents: coefficients of t**0, ..., t**order.

        Args:
            tangents: one array a leaf: how it moves.
            order: the highest power of t.
            noise: disturb each result by some units in the last place, to see what
                rounding can do to the outputs.

        Source: D. S. Parker, "Monte Carlo arithmetic", 1997 (for the noise).
        """
        given = iter(tangents)
        values = [_line_of(start, given, order) for start in self.starts]
        for step in self.steps:
            made = step.series([values[i] for i in step.operands])
            values += [_disturbed(one, noise) for one in made] if noise else made
        return [[np.asarray(c) for c in values[i]] for i in self.outputs]


def _line_of(start: Start, tangents: Any, order: int) -> list[Any]:
    value = start.array
    still = np.zeros(value.shape)
    tangent = still if start.constant else next(tangents)
    return [value, tangent, *[still] * (order - 1)][: order + 1]


def _disturbed(series: list[Any], noise: np.random.Generator) -> list[Any]:
    unit = 4 * float(np.finfo(np.float64).eps)
    return [c * (1 + unit * noise.uniform(-1, 1, np.shape(c))) for c in series]


# -- drawing -----------------------------------------------------------------------


class Choices:
    """A number, read as one choice after the other; 0 is the simplest every time."""

    def __init__(self, number: int) -> None:
        further = number * 0x9E3779B1 % 2**32  # in case that 24 bits do not last
        self.number = number + (further << 24)

    def below(self, count: int) -> int:
        """One of 0, ..., count - 1."""
        self.number, chosen = divmod(self.number, count)
        return chosen

    def of(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[self.below(len(options))]

    def axes(self, ndim: int) -> Any:
        """Every form an axis argument takes."""
        form = self.below(4) if ndim else 0
        if form == 0:
            return None
        axis = self.below(ndim)
        if form < 3:
            return axis - ndim if form == 2 else axis
        return tuple(i for i in range(ndim) if i == axis or self.below(2))


class Draft:
    """A program in the making: the shape and an interval for each value so far."""

    def __init__(self, starts: Sequence[Start]) -> None:
        self.starts = tuple(starts)
        self.steps: list[Step] = []
        self.shapes: list[Shape] = [start.shape for start in starts]
        self.bounds: list[tuple[float, float]] = [(s.low, s.high) for s in starts]
        self.used: set[int] = set()
        self.chosen: list[int] = []

    def at(self, place: int) -> int:
        """The value that a drawn number means.

        Half the time one of the newest three, so that chains grow long; a quarter of
        the time any; a quarter of the time every eighth, which is so used many times.
        """
        count = len(self.shapes)
        form, back = place % 4, place // 4
        if form < 2:
            return count - 1 - back % min(3, count)
        chosen = count - 1 - back % count
        return chosen if form == 2 else chosen // 8 * 8

    def near(self, place: int) -> list[int]:
        """The value at a place, and some older ones in case that it does not fit."""
        first, count = self.at(place), len(self.shapes)
        older = ((first - i) % count for i in range(count))
        return [x for x in older if self.is_tame(x)][:12]

    def is_tame(self, x: int) -> bool:
        """Whether a value is small enough to be used; one that is not, is an output."""
        low, high = self.bounds[x]
        return max(-low, high) <= BOUND

    def partner(self, x: int, fits: Callable[[Shape], bool], pick: Choices) -> int:
        """An operand to go with `x`, sought from a drawn place on; or -1."""
        first = self.at(pick.below(512))
        for i in range(len(self.shapes)):
            other = (first - i) % len(self.shapes)
            if self.is_tame(other) and fits(self.shapes[other]):
                return other
        return -1

    def put(
        self,
        kind: str,
        text: str,
        operands: Sequence[int],
        settings: dict[str, Any],
        bounds: tuple[float, float],
        pick: Choices,
    ) -> bool:
        """Add a step, unless its result is too large; bound what it makes."""
        many = kind in ("split", "unstack")
        shapes = self._shapes_of(kind, operands, settings, many)
        if max(map(_size, shapes)) > LARGEST or len(shapes[0]) > 4:
            return False
        first = len(self.shapes)
        makes = tuple(range(first, first + len(shapes)))
        self.steps.append(Step(kind, text, tuple(operands), settings, makes, many))
        self.used.update(operands)
        self.shapes += shapes
        self.bounds += [bounds] * len(shapes)
        if max(-bounds[0], bounds[1]) > BOUND:
            self._bring_down(makes[pick.below(len(makes))], bounds, pick)
        return True

    def _shapes_of(
        self, kind: str, operands: Sequence[int], settings: dict[str, Any], many: bool
    ) -> list[Shape]:
        """What shapes come out: those of the rule's results for zeros."""
        zeros = [[np.full(self.shapes[i], 0.5)] for i in operands]
        made = RULES[kind](*zeros, **settings)
        return [np.shape(one[0]) for one in (made if many else [made])]

    def _bring_down(self, x: int, bounds: tuple[float, float], pick: Choices) -> None:
        if pick.below(3) == 1:
            low, high = np.tanh(bounds)
            self.put("tanh", "mg.tanh({0})", [x], {}, (float(low), float(high)), pick)
            return
        factor = 1.0
        while max(-bounds[0], bounds[1]) * factor > BOUND / 2:
            factor /= 2
        low, high = bounds[0] * factor, bounds[1] * factor
        text = f"{{0}} * {factor}"
        self.put("scale", text, [x], {"factor": factor}, (low, high), pick)

    def finish(self, keep: Choices) -> Program:
        """The program; its outputs are the last value and others that nothing used."""
        last = len(self.shapes) - 1
        free = [
            i
            for i in range(len(self.starts), last)
            if i not in self.used and keep.below(3) < 2
        ]
        return Program(self.starts, tuple(self.steps), (last, *free))


def _size(of: Shape) -> int:
    return int(np.prod(of, dtype=int))


# -- the kinds of operations -------------------------------------------------------

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


def _where(draft: Draft, x: int, pick: Choices) -> bool:
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


def _matmul(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape:
        return False
    y = draft.partner(x, lambda other: _multiplies(shape, other), pick)
    if y < 0:
        return False
    low, high = _corners("multiply", draft.bounds[x], draft.bounds[y])
    n = shape[-1]
    return draft.put("matmul", "{0} @ {1}", [x, y], {}, (n * low, n * high), pick)


def _weigh(draft: Draft, x: int, pick: Choices) -> bool:
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


def _written(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def _simple(
    draft: Draft, name: str, x: int, settings: dict[str, Any], bounds: Any, pick: Any
) -> bool:
    """Add a step that is written ``mg.name(x, setting=...)``."""
    text = f"mg.{name}({{0}}, {_written(settings)})"
    return draft.put(name, text, [x], settings, bounds, pick)


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
        return _simple(draft, name, x, settings, bounds, pick)

    return add


def _count(shape: Shape, axis: Any) -> int:
    """How many elements a group has."""
    gone = range(len(shape)) if axis is None else axis
    gone = (gone,) if isinstance(gone, int) else gone
    return _size(tuple(shape[i] for i in gone))


def _reduced_bounds(name: str, low: float, high: float, count: int) -> Any:
    largest = max(-low, high)
    return {
        "sum": (min(count * low, 0), max(count * high, 0)),
        "prod": (-(max(largest, 1) ** count), max(largest, 1) ** count),
        "var": (0, (high - low) ** 2 / 4),
        "logsumexp": (low, high + np.log(max(count, 1))),
    }.get(name, (low, high))


def _along(name: str) -> Kind:
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
        return _simple(draft, name, x, {"axis": axis}, bounds, pick)

    return add


# -- kinds that rearrange ----------------------------------------------------------


def _reshape(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    size = _size(shape)
    forms = [(size,), (1, *shape), shape[::-1]]
    forms += [(n, size // n) for n in (2, 3) if size % n == 0]
    chosen = pick.of(forms)
    return _simple(draft, "reshape", x, {"shape": chosen}, draft.bounds[x], pick)


def _transpose(draft: Draft, x: int, pick: Choices) -> bool:
    remaining = list(range(len(draft.shapes[x])))
    axes = None
    if pick.below(3):
        order = [remaining.pop(pick.below(len(remaining))) for _ in draft.shapes[x]]
        negative = pick.below(2) * len(order)
        axes = tuple(axis - negative for axis in order)
    return _simple(draft, "transpose", x, {"axes": axes}, draft.bounds[x], pick)


def _swapaxes(draft: Draft, x: int, pick: Choices) -> bool:
    ndim = len(draft.shapes[x])
    if ndim < 2:
        return False
    settings = {"axis1": pick.below(ndim), "axis2": pick.below(ndim) - ndim}
    return _simple(draft, "swapaxes", x, settings, draft.bounds[x], pick)


def _expand_dims(draft: Draft, x: int, pick: Choices) -> bool:
    ndim = len(draft.shapes[x])
    axis: Any = pick.below(2 * ndim + 2) - ndim - 1
    axis = (0, ndim + 1) if pick.below(5) == 1 else axis
    return _simple(draft, "expand_dims", x, {"axis": axis}, draft.bounds[x], pick)


def _squeeze(draft: Draft, x: int, pick: Choices) -> bool:
    ones = [i for i, n in enumerate(draft.shapes[x]) if n == 1]
    axis = pick.of([None, tuple(ones), *ones])
    return _simple(draft, "squeeze", x, {"axis": axis}, draft.bounds[x], pick)


def _flip(draft: Draft, x: int, pick: Choices) -> bool:
    axis = pick.axes(len(draft.shapes[x]))
    return _simple(draft, "flip", x, {"axis": axis}, draft.bounds[x], pick)


def _broadcast_to(draft: Draft, x: int, pick: Choices) -> bool:
    shape = tuple(n if n != 1 else pick.of([3, 1, 2]) for n in draft.shapes[x])
    shape = (*pick.of([(), (2,), (1, 2)]), *shape)
    return _simple(draft, "broadcast_to", x, {"shape": shape}, draft.bounds[x], pick)


def _pad(draft: Draft, x: int, pick: Choices) -> bool:
    widths = tuple((pick.below(2), pick.below(3)) for _ in draft.shapes[x])
    if not widths:
        return False
    value = pick.of([0.0, 0.5])
    low, high = draft.bounds[x]
    bounds = (min(low, value), max(high, value))
    settings = {"widths": widths, "value": value}
    return _simple(draft, "pad", x, settings, bounds, pick)


def _crop(draft: Draft, x: int, pick: Choices) -> bool:
    parts = [_part(n, pick) for n in draft.shapes[x]]
    if pick.below(4) == 1:
        parts.insert(pick.below(len(parts) + 1), "None")
    while parts and parts[-1] == ":" and pick.below(2):
        parts.pop()  # what follows is whole
    if pick.below(4) == 1:
        parts.append("...")
    if not parts:
        return False
    return _indexed(draft, "crop", x, parts, pick)


def _part(size: int, pick: Choices) -> str:
    """What is cut from one axis, as it is written."""
    form = pick.below(6)
    if form == 1 and size:
        return str(pick.below(2 * size) - size)
    if form == 2:
        return f"{pick.below(size + 1)}:"
    if form == 3:
        return f":{pick.below(size + 1) - size or ''}"
    if form == 4:
        return f"{pick.of(['', 1])}::{pick.of([2, 3])}"
    if form == 5:
        return f"::{pick.of([-1, -2])}"
    return ":"


def _indexed(
    draft: Draft, kind: str, x: int, parts: Sequence[str], pick: Choices
) -> bool:
    """Add a step that is written ``x[parts]``."""
    written = ", ".join(parts)
    key = eval(f"np.s_[{written}]", {"np": np})
    text = f"{{0}}[{written}]"
    return draft.put(kind, text, [x], {"index": key}, draft.bounds[x], pick)


def _gather(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape or 0 in shape:
        return False
    form = pick.below(4)
    count = 1 + pick.below(4)
    if form == 1:
        mask = [bool(pick.below(2)) for _ in range(shape[0])]
        return _indexed(draft, "gather", x, [str(mask)], pick)
    ids = [[pick.below(2 * n) - n for _ in range(count)] for n in shape]
    if form == 2:
        return _indexed(draft, "gather", x, [str(i) for i in ids], pick)
    if form == 3 and len(shape) > 1:
        return _indexed(draft, "gather", x, ["::-1", str(ids[1])], pick)
    return _indexed(draft, "gather", x, [str(ids[0])], pick)


def _take(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape or 0 in shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    n = shape[axis]
    ids = [[pick.below(n) for _ in range(2)] for _ in range(1 + pick.below(2))]
    settings = {"indices": ids, "axis": axis}
    text = f"mg.take({{0}}, {ids}, axis={axis})"
    return draft.put("take", text, [x], settings, draft.bounds[x], pick)


def _scatter_add(draft: Draft, x: int, pick: Choices) -> bool:
    shape, (low, high) = draft.shapes[x], draft.bounds[x]
    if not shape:
        return False
    size = 1 + pick.below(3)
    n = shape[0]
    ids = [pick.below(size) for _ in range(n)]
    bounds = (n * min(low, 0), n * max(high, 0))
    text = f"mg.scatter_add({{0}}, {ids}, {size})"
    settings = {"ids": ids, "size": size}
    return draft.put("scatter_add", text, [x], settings, bounds, pick)


def _concatenate(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    same = axis % len(shape)

    def fits(other: Shape) -> bool:
        rest = [n for i, n in enumerate(shape) if i != same]
        return len(other) == len(shape) and rest == [
            n for i, n in enumerate(other) if i != same
        ]

    return _joined(draft, "concatenate", x, fits, axis, pick)


def _stack(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    axis = pick.below(2 * len(shape) + 2) - len(shape) - 1
    return _joined(draft, "stack", x, lambda other: other == shape, axis, pick)


def _joined(
    draft: Draft,
    kind: str,
    x: int,
    fits: Callable[[Shape], bool],
    axis: int,
    pick: Choices,
) -> bool:
    others = [draft.partner(x, fits, pick) for _ in range(pick.below(3))]
    operands = [x, *others]
    names = ", ".join(f"{{{i}}}" for i in range(len(operands)))
    bounds = [draft.bounds[i] for i in operands]
    whole = (min(low for low, _ in bounds), max(high for _, high in bounds))
    text = f"mg.{kind}([{names}], axis={axis})"
    return draft.put(kind, text, operands, {"axis": axis}, whole, pick)


def _split(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    first = pick.below(shape[axis] + 1)
    rest = shape[axis] - first
    sizes = pick.of([(first, rest), (first, 0, rest), (shape[axis],)])
    settings = {"sizes": sizes, "axis": axis}
    return _simple(draft, "split", x, settings, draft.bounds[x], pick)


def _unstack(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape or 0 in shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    return _simple(draft, "unstack", x, {"axis": axis}, draft.bounds[x], pick)


KINDS: tuple[Kind, ...] = (
    *(function(name) for name in FUNCTIONS),
    *(binary(name) for name in BINARY),
    *(binary(name) for name in ("add", "add", "multiply", "multiply")),  # more often
    _where,
    _matmul,
    _weigh,
    _weigh,
    *(reduction(name) for name in ("sum", "mean", "var", "prod")),
    *(reduction(name) for name in ("max", "min", "logsumexp")),
    *(_along(name) for name in ("cumsum", "softmax", "log_softmax")),
    *(_reshape, _transpose, _swapaxes, _expand_dims, _squeeze, _flip, _broadcast_to),
    *(_pad, _crop, _crop, _gather, _take, _scatter_add),
    *(_concatenate, _stack, _split, _unstack),
)


# -- the strategy ------------------------------------------------------------------

STARTS: tuple[Shape, ...] = (
    (),
    (3,),
    (2, 3),
    (3, 2),
    (1, 3),
    (2, 1),
    (3, 3),
    (1,),
    (2, 3, 2),
    (3, 1, 3),
    (2,),
    (0, 3),
    (1, 8),
    (8, 8),  # a weight, large beside what is multiplied by it
)


def build(
    starts: Sequence[tuple[int, int]],
    steps: Sequence[tuple[int, int, int]],
    seed: int = 0,
) -> Program:
    """The program that these numbers mean; any numbers mean one.

    Args:
        starts: (number of a shape in STARTS, kind of start) for each start.
        steps: (kind, place of the first operand, all other choices) for each operation.
        seed: of the values.
    """
    begin = [
        _start(i, STARTS[which % len(STARTS)], kind, seed)
        for i, (which, kind) in enumerate(starts)
    ]
    draft = Draft(begin)
    for kind, place, number in steps:
        add = KINDS[kind % len(KINDS)]
        if not any(add(draft, x, Choices(number)) for x in draft.near(place)):
            KINDS[0](draft, draft.near(place)[0], Choices(0))  # it fits none of these
    return draft.finish(Choices(seed * 7919 + 1))


def _start(i: int, shape: Shape, kind: int, seed: int) -> Start:
    low, high = (0.5, 2.0) if kind % 2 else (-1.5, 1.5)
    return Start(shape, low, high, (seed, i), constant=i > 0 and kind >= 4)


def programs(least: int = 20, most: int = 200) -> SearchStrategy[Program]:
    """Programs of `least` to `most` operations, with sharing; smaller ones at times.

    Leaves and constants of a few shapes (0-d, broadcasting, empty), then operations on
    earlier values, chosen so that chains grow long and some values are used many times.
    One in ten may be shorter than `least`: to these a failure shrinks, down to a line.
    """
    from hypothesis import strategies as st

    small = st.integers(0, 1023)
    step = st.tuples(st.integers(0, len(KINDS) - 1), small, st.integers(0, 2**24 - 1))
    middle = (least + most) // 2
    lengths = [(1, most), (least, middle), (least, most), (middle, most)]
    lists = [st.lists(step, min_size=low, max_size=high) for low, high in lengths]
    # The first, which may be short, one time in ten.
    steps = st.integers(0, 9).flatmap(lambda i: lists[1 + i % 3 if i else 0])
    start = st.tuples(st.integers(0, len(STARTS) - 1), st.integers(0, 5))
    starts = st.lists(start, min_size=1, max_size=6)
    return st.builds(build, starts, steps, st.integers(0, 1023))
