"""A wrong gradient as an error: whose it is, where, and a program that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.testing.calls import RecordedCall, calls_of, is_long, literal
from minigrad.testing.function import Function

MOST_TOUCHED = 4  # lines of a message


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

    primitive: str | None = None
    operand: str | int = 0
    index: tuple[int, ...] = ()
    found = expected = np.nan
    order = 1
    seed = 0
    snippet = ""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        vars(self).update(facts)


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a gradient: its first wrong element, if it is one element.

    `operand` counts the differentiated ones; None for all of them. `against` is what
    `expected` comes from, and `error` how far that can be trusted.
    """

    what: str
    operand: int | None = None
    index: tuple[int, ...] = ()
    found: float = np.nan
    expected: float = np.nan
    error: float = 0.0
    against: str = ""
    order: int = 1


def gradient_error(
    function: Function,
    wrong: Wrong,
    check: Callable[[Function, int], Wrong | None] | None = None,
    special: bool = False,
) -> GradientError:
    """The error to raise for what is wrong with `function`.

    `check` (of function and order) is tried on each primitive that it calls: the first
    that is wrong alone is to blame. `special`: the operands are special points.
    """
    can_be_blamed = check is not None and function.recorded
    for call in calls_of(function, wrong.order) if can_be_blamed else []:
        alone = call.alone(within=function)
        found = check(alone, wrong.order) if check and call.active else None
        if found is not None:
            return Report(alone, found, call).error()
    return Report(function, wrong, special=special).error()


@dataclass(frozen=True)
class Report:
    """What is told of a wrong gradient: a function's, or that of a call alone."""

    function: Function
    wrong: Wrong
    call: RecordedCall | None = None
    special: bool = False

    def error(self) -> GradientError:
        """The error: its message, and the facts for who catches it."""
        snippet = list(self._snippet())
        lines = [self._first_line(), *self._place(), *self._values()]
        lines += [f"  {line}" for line in self._explained()]
        lines += [f"    {line}" for line in snippet]
        facts = ("index", "found", "expected", "order")
        return GradientError(
            "\n".join(lines),
            primitive=self.call.primitive.name if self.call else None,
            operand=self._operand(),
            seed=self.function.seed,
            snippet="\n".join(snippet),
            **{fact: getattr(self.wrong, fact) for fact in facts},
        )

    def _first_line(self) -> str:
        told = f"gradient {self.wrong.what} (order {self.wrong.order})"
        name = self.function.name
        if self.call is None:
            return f"{name}: the {told}"
        primitive = self.call.primitive.name
        via = "" if name == primitive else f", found while checking {name}"
        return f"primitive {primitive!r}: its {told}{via}"

    def _operand(self) -> str | int:
        which = self.wrong.operand
        if which is None:
            return "all"
        if self.call is not None:
            return self.call.name_of(which)
        place = self.function.places[which]
        return self.function.names.get(place, place)

    def _place(self) -> Iterator[str]:
        """Which operand, which element of it, and its value."""
        which, index = self.wrong.operand, self.wrong.index
        if which is not None:
            operand = self.function.operands[which]
            whole = len(index) == operand.ndim
            value = f", where it is {operand[index]!s}" if whole else ""
            where = f"shape {operand.shape}, index {index}{value}"
            yield f"  operand {self._operand()}, {where}:"
        elif index:
            yield f"  index {index}:"

    def _values(self) -> Iterator[str]:
        wrong = self.wrong
        if not np.isnan([wrong.found, wrong.expected]).all():
            exact = wrong.error == 0 or not np.isfinite(wrong.error)
            bound = "" if exact else f" (+- {wrong.error:.1g})"
            yield f"    {self.function.says} {wrong.found:.16g}"
            yield f"    {wrong.against}: {wrong.expected:.16g}{bound}"

    def _explained(self) -> Iterator[str]:
        """What may be the reason, and the way out."""
        touched = self._touched()
        yield from touched
        way_out = CONVENTIONS if touched else self.function.way_out
        if self.call is not None:
            way_out = OWN_RULE if self.wrong.order == 1 else OWN_DERIVATIVE
            if touched:
                yield OTHER_VALUES
        elif self.special:
            yield SPECIAL
        yield f"{way_out} Seed {self.function.seed}. To see it again:"

    def _touched(self) -> list[str]:
        """Kinks and ends of domains that operands are at: no derivative is right."""
        calls = [self.call] if self.call else []
        if self.call is None and self.function.recorded:
            calls = calls_of(self.function)
        told = [f"{c.primitive.name} is at {at}." for c in calls for at in c.touched()]
        return list(dict.fromkeys(told))[:MOST_TOUCHED]

    def _snippet(self) -> Iterator[str]:
        """A program that fails in the same way."""
        call, operands = self.call, self.function.filled(self.function.operands)
        f = self.function.name if self.function.name.isidentifier() else "..."
        f = call.source() if call else f"{f}  # what was checked: {self.function.name}"
        if any(map(is_long, [*operands, *(call.operands if call else [])])):
            yield "# Arrays too long to print are made up: put your own there."
        yield "import numpy as np"
        if call and "Slice(" in f:
            yield "from minigrad.ops.shape import Slice"
        yield "from minigrad.testing import check_gradients"
        if call:
            yield call.origin()
        yield f"f = {f}"
        yield "check_gradients("
        yield "    f,"
        yield from (f"    {literal(x)}," for x in operands)
        how = f"order={self.wrong.order}" if self.function.recorded else "grad=grad"
        yield f"    {how}, seed={self.function.seed},"
        yield ")"


OWN_RULE = "Look at the primitive's rule for that operand."
OTHER_VALUES = (
    "No derivative is right there: choose other values to check the rule itself."
)
OWN_DERIVATIVE = (
    "The rule is right, its derivative is not: build rules from recorded operations "
    "alone, without .data, .item() or NumPy's functions."
)
CONVENTIONS = (
    "No primitive of it is wrong alone, but where one has no finite derivative the "
    "tape follows a convention, and conventions need not add up to the function's own "
    "derivative."
)
SPECIAL = (
    "Special values (0, -0.0, 1, -1, equal ones) stand in the operands' places, where "
    "the function is smooth: special=False leaves them out."
)
