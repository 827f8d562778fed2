"""Class visualisation: the picture that a class's score is highest for.

Glossary of shapes: N classes, (H, W) picture; pictures are normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

import nn
from apps.image_gradients.gradients import (
    lead_over_others,
    probabilities,
    score_of,
    scores_of,
    unit,
    with_gradient,
)
from apps.image_gradients.pictures import SIDE, denormalize, normalize, valid_range
from apps.image_gradients.settings import Settings

# The course's: tarantula, tick, Yorkshire terrier, gorilla, hourglass, oboe.
CLASSES = (76, 78, 187, 366, 604, 683)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pictures of classes, as they can be saved, and as they were on the way.

    `certainty` is the probability of each class on its own picture.
    Shapes: pixels and each of `stages` (by iteration) (N, H, W, 3) uint8.
    """

    classes: tuple[int, ...]
    pixels: np.ndarray
    certainty: np.ndarray
    stages: dict[int, np.ndarray]


def visualize(
    network: nn.Module,
    classes: Sequence[int],
    settings: Settings | None = None,
    *,
    seed: int = 0,
    shown: Iterable[int] = (1, 25, 50, 75, 100),
    side: int = SIDE,
    progress: Callable[[int], None] = lambda _: None,
) -> Drawn:
    """Gradient ascent from noise to pictures that the network takes for classes.

    None depends on the others: each begins from noise of its own, and all move alike.

    Sources: Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks (2014),
    section 2; Yosinski et al., Understanding Neural Networks Through Deep Visualization
    (2015), section 3, for the blur; Mordvintsev, Olah and Tyka, Inceptionism (2015),
    for the jitter.
    """
    settings = settings or Settings()
    low, high = valid_range()
    moves = np.random.default_rng(seed)
    x = np.stack([_noise(number, seed, side, settings) for number in classes])
    stages = {}
    wanted = set(shown)
    for step in range(settings.iterations):
        move = tuple(moves.integers(0, settings.jitter + 1, 2))
        x = np.roll(x, move, axis=(2, 3))
        x = x + _step(network, x, classes, settings, step)
        x = np.roll(x, tuple(-m for m in move), axis=(2, 3))
        x = np.clip(x, low, high)
        if step % settings.every == 0:
            x = blurred(x, settings.blur * _share(settings, step))
        if step + 1 in wanted:
            stages[step + 1] = denormalize(x)
        progress(step + 1)
    pixels = denormalize(x)
    certainty = probabilities(scores_of(network, normalize(pixels)))
    own = certainty[np.arange(len(x)), np.asarray(classes)]
    return Drawn(tuple(classes), pixels, own, stages)


def _noise(number: int, seed: int, side: int, settings: Settings) -> np.ndarray:
    """What a class begins with. Shapes: (3, side, side)."""
    random = np.random.default_rng([seed, number])
    noise = random.standard_normal((1, 3, side, side), "float32")
    if settings.start:
        noise = blurred(noise, settings.start)
        noise *= np.float32(0.3 / noise.std())
    return noise[0]


def _step(
    network: nn.Module,
    x: np.ndarray,
    classes: Sequence[int],
    settings: Settings,
    step: int,
) -> np.ndarray:
    """How far each picture goes, and where to. Shapes: (N, 3, H, W)."""
    ends = step >= settings.iterations - settings.ending
    of = lead_over_others(classes) if ends else score_of(classes)
    g = with_gradient(network, x, of)[1] - np.float32(2 * settings.l2) * x
    if settings.smooth:
        g = unit(g) + unit(blurred(g, settings.smooth))
    return np.float32(settings.rate * _share(settings, step)) * unit(g)


def _share(settings: Settings, step: int) -> float:
    """How large steps and blur still are, of what they were."""
    done = step / max(1, settings.iterations - 1)
    return 1 + (settings.shrink - 1) * done


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Filter pictures (N, 3, H, W) with a Gaussian of `sigma` pixels, mirrored."""
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return x
    places = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    weights = (weights / weights.sum()).astype(x.dtype)
    for axis in (2, 3):
        widths = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, widths, "symmetric"), len(weights), axis
        )
        x = windows @ weights
    return x
