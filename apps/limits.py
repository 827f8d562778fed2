"""Limits: ranges of the numbers that are asked for, and the size of a network."""

from __future__ import annotations

from dataclasses import dataclass

from apps.errors import UserError
from minigrad.io.errors import TooLargeError
from minigrad.io.limits import check_size, in_words

# What training keeps for each weight: itself, its gradient, and two moments of Adam's.
KEPT = 4
# Together 4 GiB in float32.
MOST_WEIGHTS = 2**28
# What one minibatch may leave for the backward pass, 4 GiB in float32.
MOST_NUMBERS = 2**30


class NetworkError(UserError, ValueError):
    """A network would take too much memory; names the options that make it smaller."""


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `above` and `below` leave these ends out."""

    low: float
    high: float
    whole: bool = False
    above: bool = False
    below: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of these numbers; a truth value is none."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.whole and not isinstance(value, int):
            return False
        least = value > self.low if self.above else value >= self.low
        return least and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        """The range in words."""
        kind = "a whole number" if self.whole else "a number"
        low = f"above {_number(self.low)}, up" if self.above else f"from {self.low}"
        return f"{kind} {low} to {'below ' if self.below else ''}{_number(self.high)}"


COUNT = Range(1, 10**9, whole=True)
SEED = Range(0, 2**63 - 1, whole=True)
FRACTION = Range(0, 1, below=True)
RATE = Range(0, 1e30, above=True)  # so far below the end of float32 that none is near
DECAY = Range(0, 1e6)
LENGTH = Range(2, 4096, whole=True)  # positions; attention takes their square
# Of choosing words.
BEAMS = Range(1, 1000, whole=True)
DRAWS = Range(2, 1000, whole=True)
TEMPERATURE = Range(0, 1e6, above=True)
PENALTY = Range(0, 5)
SHOWN = Range(1, 100, whole=True)


def check_weights(weights: int, options: str) -> None:
    """Check the size of a network before it is made. Raises: NetworkError."""
    what = f"a network of {weights:,} weights, with what training keeps of each,"
    _check(what, KEPT * weights, KEPT * MOST_WEIGHTS, options)


def check_minibatch(numbers: int, options: str) -> None:
    """Check what a minibatch leaves for the backward pass. Raises: NetworkError."""
    what = "what one minibatch leaves for the backward pass"
    _check(what, numbers, MOST_NUMBERS, options)


def _check(what: str, numbers: int, most: int, options: str) -> None:
    needed = 4 * numbers
    if numbers > most:
        raise NetworkError(
            f"{what} would take {in_words(needed)}, and at most {in_words(4 * most)} "
            f"are allowed. Give less of {options}."
        )
    try:
        check_size(needed, what)
    except TooLargeError as error:
        raise NetworkError(f"{error}: give less of {options}.") from error


def shown(value: object) -> str:
    """A value in a message, however large it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
