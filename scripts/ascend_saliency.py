"""An experiment: ascending the saliency map itself instead of the gradient.

    python -m scripts.ascend_saliency [imagenet_val_25.npz]

Pictures (scikit-image's, if none are given) are to be seen as other classes, by steps
of length 1 in a direction made of the gradient of the target's score; the table in
docs/image_gradients.md comes from here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from apps.image_gradients.fool import fool, other_classes
from apps.image_gradients.gradients import frozen, probabilities, scores_of, unit
from apps.image_gradients.pictures import find, normalize, samples
from apps.image_gradients.squeezenet import CLASSES, SqueezeNet
from apps.image_gradients.weights import load

SEED = 0
MOST = 50  # steps
Direction = Callable[[np.ndarray], np.ndarray]


def saliency(g: np.ndarray) -> np.ndarray:
    """The saliency map, for each channel alike: it brightens where it is large."""
    return np.broadcast_to(np.abs(g).max(axis=1, keepdims=True), g.shape)


def directions() -> dict[str, Direction]:
    """What is made of a gradient (N, 3, H, W), by what the table calls it."""
    random = np.random.default_rng(SEED)
    return {
        "gradient": lambda g: g,
        "saliency map, with the gradient's signs": lambda g: saliency(g) * np.sign(g),
        "saliency map": saliency,
        "saliency map, taken away": lambda g: -saliency(g),
        "gradient without its signs": np.abs,
        "gradient with random signs": lambda g: g * random.choice([-1, 1], g.shape),
    }


class Watched:
    """A direction of length 1, and how far along the gradient it goes."""

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.cosines: list[float] = []

    def __call__(self, g: np.ndarray) -> np.ndarray:
        """Give the step, and remember its cosine with the gradient."""
        step = unit(self.direction(g).astype(g.dtype))
        self.cosines += (step * unit(g)).sum(axis=(1, 2, 3)).tolist()
        return step


def main(paths: list[str]) -> None:
    """Try each direction, and print the table."""
    network = frozen(SqueezeNet())
    load(network)
    pictures = list(find(paths)) if paths else samples()
    pixels = np.stack([picture.pixels for picture in pictures])
    start = scores_of(network, normalize(pixels))
    targets = other_classes(probabilities(start).argmax(axis=1), CLASSES, SEED)
    table = Table("step along", "fooled", "steps", "cosine", "score gained a step")
    for name, direction in directions().items():
        watched = Watched(direction)
        done = fool(
            network, pixels, targets, aim="score", most=MOST, direction=watched
        )
        steps = np.where(done.steps < 0, MOST, done.steps)
        pick = np.arange(len(targets)), targets
        gained = scores_of(network, normalize(done.after))[pick] - start[pick]
        table.add_row(
            name,
            f"{(done.steps >= 0).sum()} of {len(targets)}",
            f"{np.median(done.steps[done.steps >= 0]):g}" if steps.min() < MOST else "",
            f"{np.mean(watched.cosines):.3f}",
            f"{np.mean(gained / steps):.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
