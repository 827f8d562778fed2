"""Which networks and pictures do the tests of `minigrad look` look into?"""

from __future__ import annotations

import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from apps.image_gradients import pictures
from apps.image_gradients.gradients import frozen
from apps.image_gradients.squeezenet import SqueezeNet
from apps.image_gradients.weights import WeightsError, load
from tests.devices import put

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
IMAGENET = SHARED / "imagenet/imagenet_val_25.npz"


@cache
def guessing(dtype: Any = "float32") -> SqueezeNet:
    """A network on the CPU that has learned nothing; not to be changed."""
    mg.manual_seed(3)
    return frozen(SqueezeNet(dtype=dtype))


def guessing_here() -> SqueezeNet:
    """The same on the test's device."""
    network = SqueezeNet()
    network.load_state_dict(guessing().state_dict())
    return frozen(put(network))


@cache
def learned() -> SqueezeNet:
    """The network with its published weights; not to be changed.

    They are the installed package's, converted, or the shared folder's.
    """
    network = SqueezeNet()
    own = SHARED / "squeezenet/squeezenet1_1.npz"
    try:
        load(network, own if own.exists() else None, Path("nowhere"))
    except WeightsError as error:
        pytest.skip(f"there are no learned weights: {error}")
    return frozen(network)


def imagenet() -> tuple[np.ndarray, np.ndarray]:
    """25 pictures and their classes. Shapes: (25, 224, 224, 3) uint8, (25,)."""
    if not IMAGENET.exists():
        pytest.skip(f"there is no {IMAGENET}")
    with np.load(IMAGENET) as arrays:
        return arrays["X"], arrays["y"]


def noise(count: int, side: int = 40, seed: int = 0) -> np.ndarray:
    """Pixels at random, smooth enough to have edges. Shapes: (N, side, side, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, side // 4 + 1, 2, 3))
    wide = coarse.repeat(4, axis=1).repeat(side // 2, axis=2)
    return wide[:, :side].astype("uint8")


def watched_pictures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of how many pictures are alive, one number more for each that is read."""
    alive: weakref.WeakSet[pictures.Picture] = weakref.WeakSet()
    counts = []

    def made(*given: Any, **named: Any) -> Any:
        picture = kind(*given, **named)
        alive.add(picture)
        counts.append(len(alive))
        return picture

    kind = pictures.Picture
    monkeypatch.setattr(pictures, "Picture", made)
    return counts
