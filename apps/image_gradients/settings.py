"""Settings by which classes are drawn and the network is fooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps import limits, settings
from apps.limits import Range
from apps.settings import setting

# A step over the whole of a picture, from black to white, is 1,700 long.
RATE = Range(0, 10_000, above=True)
STEPS = Range(0, 10_000, whole=True)
PIXELS = Range(0, 20)
PART = Range(0, 1)


@dataclass(frozen=True)
class Settings(settings.Settings):
    """How a class is climbed; as it stands, as in the course, but for `ending`.

    Beyond the course: `start`, `smooth` and `shrink`.
    """

    iterations: int = setting("Steps to take.", 100, limits.COUNT)
    l2: float = setting(
        "How strongly pixels are drawn to the mean colour.", 1e-3, Range(0, 1000)
    )
    rate: float = setting("Length of a step.", 25.0, RATE)
    jitter: int = setting("Pixels to move the picture by, at most.", 16, STEPS)
    blur: float = setting("Standard deviation of the filter, pixels.", 0.5, PIXELS)
    every: int = setting("Steps from one filtering to the next.", 10, limits.COUNT)
    ending: int = setting("Last steps, which lead away from other classes.", 10, STEPS)
    start: float = setting("Blur of the noise to begin with, pixels.", 0.0, PIXELS)
    smooth: float = setting("Blur of the gradient that joins it, pixels.", 0.0, PIXELS)
    shrink: float = setting("Fraction of step and blur left at the end.", 1.0, PART)


@dataclass(frozen=True)
class Fooling(settings.Settings):
    """How a picture is changed until the network sees something else in it."""

    aim: Literal["lead", "score"] = setting(
        "Climb the target's lead over all others, or its score alone.", "lead"
    )
    rate: float = setting("Length of a step.", 1.0, RATE)
    steps: int = setting("Steps at most.", 100, limits.COUNT)


RECIPES = {
    "course": Settings(),
    "vivid": Settings(
        iterations=200,
        rate=20.0,
        jitter=32,
        blur=0.8,
        every=4,
        start=4.0,
        smooth=2.0,
        shrink=0.1,
    ),
}
