"""Whose fault is a wrong gradient?  The primitive that fails alone, and the message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad import backend, tape
from minigrad.tape import Entry, Observer, Primitive, Scope, record
from minigrad.testing.function import Derived, Function
from minigrad.testing.oracles import STEP


class GradientError(AssertionError):
    """A gradient is wrong: which primitive's, for which operand, and where.

    Attributes:
        primitive: the name of the primitive that is wrong alone, or None.
        operand: the operand's name, or its number.
        index: of the first wrong element.
        found, expected: what the tape says there, and what the oracle says.
        order: 1 for a gradient, 2 for a gradient of a gradient, and so on.
        seed: of the cotangents.
        snippet: a program that shows the failure again.
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.primitive: str | None = None
        self.operand: str | int = 0
        self.index: tuple[int, ...] = ()
        self.found = self.expected = np.nan
        self.order = 1
        self.seed = 0
        self.snippet = ""
        vars(self).update(facts)


@dataclass(frozen=True)
class Wrong:
    """The first element that is wrong."""

    what: str
    operand: int | None
    index: tuple[int, ...]
    found: float
    expected: float
    error: float
    oracle: str
    order: int


# -- whose fault is it? ------------------------------------------------------------


class Call(NamedTuple):
    """One recorded operation: enough to run it alone."""

    made: Primitive
    arrays: list[Any]
    settings: dict[str, Any]

    def live(self) -> list[int]:
        """The operands that are differentiated: arrays of floats."""
        return [
            i
            for i, x in enumerate(self.arrays)
            if backend.is_array(x) and x.dtype == np.float64
        ]

    def function(self, device: str) -> Function:
        """The call as a function of its arrays of floats."""
        live = self.live()

        def f(*inputs: Any) -> Any:
            operands = list(self.arrays)
            for i, x in zip(live, inputs, strict=True):
                operands[i] = x
            return record(self.made, operands, self.settings)

        return Function(f, [backend.to_numpy(self.arrays[i]) for i in live], device)

    def name_of(self, operand: int) -> str:
        """What the primitive calls its differentiated operand."""
        names = self.made.operand_names
        i = self.live()[operand]
        plain = not (self.made.sequence or i >= len(names))
        return names[i] if plain else f"{names[0] if names else 'operands'}[{i}]"

    def source(self) -> str:
        """The call as a lambda of its differentiated operands, for the snippet."""
        names = [f"x{i}" for i in range(len(self.live()))]
        given = [_literal(x) for x in self.arrays]
        for name, i in zip(names, self.live(), strict=True):
            given[i] = name
        operands = ", ".join(given)
        operands = f"[{operands}]" if self.made.sequence else operands
        settings = "".join(f", {k}={v!r}" for k, v in self.settings.items())
        call = f"{self.made.name}({operands}{settings})"
        return f"lambda {', '.join(names)}: {call}"

    def origin(self) -> str:
        """The line that imports the primitive, if it can be imported."""
        forward = self.made.forward
        module, name = forward.__module__, forward.__qualname__
        if module in (None, "__main__") or not name.isidentifier():
            return f"# {self.made.name} is the primitive that was checked"
        return f"from {module} import {name}"


class Calls(Observer):
    """An observer that collects what is recorded."""

    def __init__(self) -> None:
        self.seen: list[Call] = []
        self.dtypes: list[np.dtype] = []  # of their results

    def called(self, call: tape.Call, entry: Entry | None, seconds: float) -> None:
        """Keep a call that has a gradient."""
        if entry is not None:
            self.seen.append(Call(call.primitive, list(call.operands), call.settings))
            self.dtypes.append(entry.dtype)


def calls_of(function: Any, order: int) -> list[Call]:
    """All operations that `function` and its derivatives below `order` record."""
    operands = function.operands
    for _ in range(1, order):
        cotangents = [np.ones(y.shape) for y in function.on_arrays(operands)]
        function = Derived(function, cotangents)
    return _watched(function).seen


def calls_with_dtypes(function: Any) -> list[tuple[Call, np.dtype]]:
    """The operations that `function` records, each with the dtype of its result."""
    calls = _watched(function)
    return list(zip(calls.seen, calls.dtypes, strict=True))


def _watched(function: Any) -> Calls:
    with Scope(enabled=True, observer=Calls()) as calls:
        function(function.leaves(function.operands))
    return calls


def blamed(
    function: Function,
    wrong: Wrong,
    seed: int,
    name: str,
    check: Callable[[Any, int, int], Wrong | None],
) -> GradientError | None:
    """The error of the first recorded primitive that is wrong alone, if one is."""
    for call in calls_of(function, wrong.order):
        if not call.live():
            continue
        alone = call.function(function.device)
        found = check(alone, wrong.order, seed)
        if found is not None:
            return told(name, alone, found, seed, call)
    return None


# -- what is said ------------------------------------------------------------------


def told(
    name: str,
    function: Function,
    wrong: Wrong,
    seed: int,
    call: Call | None = None,
    special: bool = False,
) -> GradientError:
    """The error that says which primitive, which operand, where, and how to see it.

    `special`: the operands are none that were given.
    """
    operand = _operand_name(function, wrong, call)
    lines = [_first_line(name, wrong, call)]
    if wrong.operand is not None:
        lines.append(f"  operand {operand}, {_place(function, wrong)}:")
    elif wrong.index:
        lines.append(f"  index {wrong.index}:")
    if not np.isnan([wrong.found, wrong.expected]).all():
        lines.append(f"    {function.says} {wrong.found:.16g}")
        bound = f"(+- {wrong.error:.1g})" if np.isfinite(wrong.error or np.nan) else ""
        lines.append(f"    {wrong.oracle}: {wrong.expected:.16g} {bound}".rstrip())
    touched = _touched(function, wrong, call)
    lines += [f"  {text}" for text in touched]
    if special and call is None:
        lines.append(f"  {SPECIAL}")
    way_out = _way_out(function, wrong, call, bool(touched))
    lines.append(f"  {way_out} Seed {seed}. To see it again:")
    snippet = _snippet(name, function, wrong, seed, call)
    lines += [f"    {line}" for line in snippet.splitlines()]
    return GradientError(
        "\n".join(lines),
        primitive=call.made.name if call else None,
        operand=operand,
        index=wrong.index,
        found=wrong.found,
        expected=wrong.expected,
        order=wrong.order,
        seed=seed,
        snippet=snippet,
    )


SPECIAL = (
    "Special values (0, -0.0, 1, -1, equal ones) stand in the operands' places, where "
    "the function is smooth: special=False leaves them out."
)


def _place(function: Function, wrong: Wrong) -> str:
    """Which element of an operand, and what it is."""
    operand = function.operands[wrong.operand or 0]
    text = f"shape {operand.shape}, index {wrong.index}"
    plain = len(wrong.index) == operand.ndim
    return f"{text}, where it is {operand[wrong.index]!s}" if plain else text


def _operand_name(function: Function, wrong: Wrong, call: Call | None) -> str | int:
    if wrong.operand is None:
        return "all"
    if call is not None:
        return call.name_of(wrong.operand)
    place = function.places[wrong.operand]
    return function.names.get(place, place)


def _first_line(name: str, wrong: Wrong, call: Call | None) -> str:
    where = f"(order {wrong.order})"
    if call is None:
        return f"{name}: the gradient {wrong.what} {where}"
    via = f", found while checking {name}" if name != call.made.name else ""
    return f"primitive {call.made.name!r}: its gradient {wrong.what} {where}{via}"


def _way_out(function: Function, wrong: Wrong, call: Call | None, touched: bool) -> str:
    if call is None:
        return CONVENTIONS if touched else function.way_out
    if wrong.order == 1:
        return "Look at the primitive's rule for that operand."
    return (
        "The rule is right, its derivative is not: build rules from recorded "
        "operations alone, without .data, .item() or NumPy's functions."
    )


CONVENTIONS = (
    "No primitive of it is wrong alone, but where one has no finite slope the tape "
    "follows a convention, and conventions need not add up to the function's own slope."
)


def _touched(function: Function, wrong: Wrong, call: Call | None) -> list[str]:
    """Kinks and ends that operands are at or near, so that no slope is to be had."""
    if call is not None:
        return [
            f"Operand {name!r} touches its kink at {kink!r}, where there is no one "
            "slope: choose other values to check the rule itself."
            for name, kink in _kinks_nearby(call)
        ]
    calls = calls_of(function, 1) if function.recorded else []
    told = [f"{c.made.name} is at {where}." for c in calls for where in _places(c)]
    return list(dict.fromkeys(told))[:MOST_TOUCHED]


MOST_TOUCHED = 4  # lines of a message


def _places(call: Call) -> list[str]:
    """The kinks of a call that are touched, and the ends of its domain."""
    values = _named(call)
    kinks = [f"the kink of {name!r} at {kink!r}" for name, kink in _kinks_nearby(call)]
    ends = [
        f"the end {end!r} of the domain of {name!r}, where 0 times an infinite slope "
        "is NaN"
        for name, ends in call.made.domain.items()
        for end in ends
        if np.any(_on_host(values[name]) == end)
    ]
    return kinks + ends


def _named(call: Call) -> dict[str, Any]:
    return dict(zip(call.made.operand_names, call.arrays, strict=False))


def _kinks_nearby(call: Call) -> list[tuple[str, float | str]]:
    """Kinks that an operand comes too close to for differences to mean anything."""
    values = _named(call)
    return [
        (name, kink)
        for name, kinks in call.made.kinks.items()
        for kink in kinks
        if name in values and _distance(values, name, kink, call.settings) <= 2 * STEP
    ]


def _distance(
    values: dict[str, Any], name: str, kink: float | str, settings: dict[str, Any]
) -> float:
    own = _on_host(values[name]).astype(float)  # of integers infinity is no distance
    if kink == name:
        return float(np.diff(np.sort(own, axis=None)).min(initial=np.inf))
    at = values.get(kink, settings.get(kink)) if isinstance(kink, str) else kink
    if at is None:
        return np.inf
    return float(np.abs(own - _on_host(at)).min(initial=np.inf))


def _on_host(value: Any) -> np.ndarray:
    return backend.to_numpy(value) if backend.is_array(value) else np.asarray(value)


LARGEST_SHOWN = 300  # elements: a snippet is to be read


def _literal(value: Any) -> str:
    """The value as source text that makes it again, to the last digit."""
    if not backend.is_array(value):
        return repr(value)
    array = backend.to_numpy(value)
    if _is_long(array):
        return _stand_in(array)
    if array.size == 0 or array.dtype != np.float64:
        return (
            f"np.array({array.tolist()}, {str(array.dtype)!r}).reshape({array.shape})"
        )
    return f"np.array({array.tolist()})"


def _stand_in(array: np.ndarray) -> str:
    """Source text of an array like one that is too long to print."""
    if array.dtype.kind == "f":
        return f"np.random.default_rng(0).normal(size={array.shape})"
    return f"np.zeros({array.shape}, {str(array.dtype)!r})"


def _is_long(value: Any) -> bool:
    return backend.is_array(value) and value.size > LARGEST_SHOWN


def _snippet(
    name: str, function: Function, wrong: Wrong, seed: int, call: Call | None
) -> str:
    """A program that fails in the same way."""
    f = call.source() if call else name if name.isidentifier() else "..."
    operands = _all_operands(function)
    given = [*operands, *(call.arrays if call else [])]
    lines = [
        "# Arrays too long to print are made up: put your own in their places."
        if any(map(_is_long, given))
        else "",
        "import numpy as np",
        "from minigrad.ops.shape import Slice" if call and "Slice(" in f else "",
        "from minigrad.testing import check_gradients",
        call.origin() if call else "",
        f"f = {f}" if call else f"f = {f}  # what was checked: {name}",
        "check_gradients(",
        "    f,",
        *(f"    {_literal(a)}," for a in operands),
        f"    order={wrong.order}, seed={seed},"
        if function.recorded
        else f"    grad=grad, seed={seed},",
        ")",
    ]
    return "\n".join(line for line in lines if line)


def _all_operands(function: Function) -> list[Any]:
    """All operands in their places, the constants among them."""
    places = dict(zip(function.places, function.operands, strict=True))
    places |= function.constants
    return [places[place] for place in sorted(places)]
