"""Arguments and results: nested tuples, lists and dicts with arrays in them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from minigrad.backend import is_array
from minigrad.tape import TensorBase


def map_arrays(tree: Any, f: Callable[[Any], Any]) -> Any:
    """The tree with f(x) in the place of every Tensor and array x."""
    if isinstance(tree, TensorBase) or is_array(tree):
        return f(tree)
    if isinstance(tree, dict):
        return {key: map_arrays(value, f) for key, value in tree.items()}
    if hasattr(tree, "_fields"):  # a named tuple
        return type(tree)(*(map_arrays(part, f) for part in tree))
    if isinstance(tree, tuple | list):
        return type(tree)([map_arrays(part, f) for part in tree])
    return tree


def arrays_in(tree: Any) -> list[Any]:
    """Every Tensor and array of a tree, in order."""
    found: list[Any] = []
    map_arrays(tree, found.append)
    return found


def leaves_of(tree: Any) -> list[Any]:
    """What a tree holds besides Tensors and arrays."""
    if isinstance(tree, TensorBase) or is_array(tree):
        return []
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in leaves_of(part)]
    return [tree]


def signature(tree: Any) -> Hashable:
    """What a program depends on: of arrays the layout, everything else by value.

    Objects that cannot be hashed stand for themselves, by identity.
    """
    if isinstance(tree, TensorBase):
        return "tensor", tree.entry is None, _layout(tree.array)
    if is_array(tree):
        return "array", _layout(tree)
    if isinstance(tree, dict):
        items = ((key, signature(value)) for key, value in tree.items())
        return dict, tuple(items)
    if isinstance(tree, tuple | list):
        return type(tree), tuple(map(signature, tree))
    if isinstance(tree, float | complex):
        return type(tree), repr(tree)  # -0.0 is not 0.0, and nan is nan
    try:
        hash(tree)
    except TypeError:
        return Itself(tree)
    return type(tree), tree


class Itself:
    """An object without a value to compare, in a key: kept, and equal to itself."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.thing is self.thing


def _layout(array: Any) -> Hashable:
    strides = array.strides if isinstance(array, np.ndarray) else None
    return type(array), array.shape, array.dtype, strides
