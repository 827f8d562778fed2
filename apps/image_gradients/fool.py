"""Adversarial pictures: small changes by which the network sees something else.

Glossary of shapes: N batch, (H, W) picture; pictures are normalised, targets (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import nn
from apps.image_gradients import gradients
from apps.image_gradients.gradients import Of, lead_over_others, unit, with_gradient
from apps.image_gradients.pictures import STD, denormalize, normalize, valid_range

MOST = 100  # steps
TRIES = 40  # steps of a search with one bound
LEVELS = 16  # the last bound that is searched with, of 255
LEVEL = (1 / 255 / STD).astype("float32").reshape(3, 1, 1)  # of 255, normalised

AIMS: dict[str, Callable[[np.ndarray], Of]] = {
    "score": gradients.score_of,
    "lead": lead_over_others,
}

Direction = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]  # (step, pictures not fooled yet)


@dataclass(frozen=True, eq=False)
class Fooled:
    """Pictures that the network takes for something else, as they can be saved.

    `steps` is how many were taken, -1 where all of them did not help.
    Shapes: before and after (N, H, W, 3) uint8, targets and steps (N,).
    """

    before: np.ndarray
    after: np.ndarray
    targets: np.ndarray
    steps: np.ndarray

    @property
    def levels(self) -> np.ndarray:
        """By how many of 255 levels a pixel changed at most. Shapes: (N,)."""
        change = np.abs(self.after.astype(int) - self.before)
        return change.reshape(len(change), -1).max(axis=1)


def joined(parts: Sequence[Fooled]) -> Fooled:
    """What was done to a few pictures at a time, as one."""
    arrays = zip(*(vars(part).values() for part in parts), strict=True)
    return Fooled(*map(np.concatenate, arrays))


def saved(x: np.ndarray) -> np.ndarray:
    """The pictures that would be read back if these were saved in 8 bits."""
    return normalize(denormalize(x))


def fool(
    network: nn.Module,
    pixels: np.ndarray,
    targets: np.ndarray,
    *,
    aim: str = "lead",
    rate: float = 1.0,
    most: int = MOST,
    direction: Direction = unit,
    progress: Progress = lambda *_: None,
) -> Fooled:
    """Gradient ascent from pictures until the network answers with other classes.

    Each step goes `rate` along the gradient's direction and stays a picture; a picture
    is done when the network is fooled by what can be saved of it. The score itself
    ("score", as in the course) lifts classes that look like the target with it, and
    sometimes they stay ahead; its lead over all others ("lead") does not.

    Source: Szegedy et al., Intriguing properties of neural networks (2014), section 4.
    """
    low, high = valid_range()
    x = normalize(pixels)
    steps = np.full(len(x), -1)
    left = np.arange(len(x))
    for step in range(most + 1):
        answers = gradients.scores_of(network, saved(x[left])).argmax(axis=1)
        steps[left[answers == targets[left]]] = step
        left = left[answers != targets[left]]
        progress(step, len(left))
        if not len(left) or step == most:
            break
        _, g = with_gradient(network, x[left], AIMS[aim](targets[left]))
        x[left] = np.clip(x[left] + rate * direction(g), low, high)
    return Fooled(pixels, denormalize(x), targets, steps)


def smallest_change(
    network: nn.Module,
    pixels: np.ndarray,
    targets: np.ndarray,
    *,
    tries: int = TRIES,
    most: int = LEVELS,
    progress: Progress = lambda *_: None,
) -> Fooled:
    """Fool the network while no pixel changes by more levels than it must.

    Of the pictures that differ by at most 1 of 255 levels, then 2, then 3, ..., those
    are searched along the gradient's sign, in steps that shrink from half a level; the
    gradient is taken where the picture would be saved. A search may miss a smaller
    change that exists: what is found is an upper bound.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks
    (2018), section 2.1, for the search; Goodfellow, Shlens and Szegedy, Explaining and
    Harnessing Adversarial Examples (2015), section 3, for the sign.
    """
    start = normalize(pixels)
    x = start.copy("K")
    steps = np.full(len(x), -1)
    left = np.arange(len(x))
    for step in range(most * tries + 1):
        # What is left from one bound on goes on from there under the next.
        bound, done = step // tries + 1, step % tries / tries
        lead = lead_over_others(targets[left])
        scores, g = with_gradient(network, saved(x[left]), lead)
        fooled = scores.argmax(axis=1) == targets[left]
        steps[left[fooled]] = step
        left, g = left[~fooled], g[~fooled]
        progress(step, len(left))
        if not len(left) or step == most * tries:
            break
        moved = x[left] + max(0.125, 0.5 * (1 - done)) * LEVEL * np.sign(g)
        x[left] = _within(moved, start[left], bound)
    return Fooled(pixels, denormalize(x), targets, steps)


def _within(x: np.ndarray, start: np.ndarray, levels: int) -> np.ndarray:
    """The nearest picture that differs from another by so many levels at most."""
    near = np.clip(x, start - levels * LEVEL, start + levels * LEVEL)
    return np.clip(near, *valid_range())


def other_classes(
    labels: np.ndarray, classes: int, seed: int | np.random.Generator
) -> np.ndarray:
    """For each picture another class than its own, chosen by a seed. Shapes: (N,)."""
    chosen = np.random.default_rng(seed).integers(0, classes - 1, len(labels))
    return chosen + (chosen >= labels)
