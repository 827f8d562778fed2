"""A program in the making, which keeps what it draws within bounds.

Values and derivatives stay bounded by construction: each value carries an interval, and
what outgrows it is scaled or squashed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.support.program import Program, Shape, Start, Step
from tests.support.series import RULES

LARGEST = 64  # elements of a value
BOUND = 4.0  # of the values' magnitudes


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
        if max(map(size_of, shapes)) > LARGEST or len(shapes[0]) > 4:
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

    def simple(
        self, name: str, x: int, settings: dict[str, Any], bounds: Any, pick: Choices
    ) -> bool:
        """Add a step that is written ``mg.name(x, setting=...)``."""
        written = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        text = f"mg.{name}({{0}}, {written})"
        return self.put(name, text, [x], settings, bounds, pick)

    def _shapes_of(
        self, kind: str, operands: Sequence[int], settings: dict[str, Any], many: bool
    ) -> list[Shape]:
        """What shapes come out: those of the rule's results for zeros."""
        zeros = [[np.full(self.shapes[i], 0.5)] for i in operands]
        results = RULES[kind](*zeros, **settings)
        return [np.shape(one[0]) for one in (results if many else [results])]

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


def size_of(of: Shape) -> int:
    return int(np.prod(of, dtype=int))
