"""The Tensor: an array and, where gradients are wanted, the entry that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.backend import ARRAY_TYPES, Array, as_result
from minigrad.tape.entry import Entry, Leaf
from minigrad.tape.recording import recording, tell


class TensorBase:
    """An array and its entry: what the tape needs of a Tensor.

    `minigrad.tensor.Tensor` is the class with operators and methods, of which the tape
    makes its results.

    Raises:
        TypeError: data is not numeric, or an integer tensor is to require gradients.
    """

    __slots__ = ("__weakref__", "array", "entry")
    __array_ufunc__ = None  # NumPy steps back: array * tensor is tensor.__rmul__
    __array_priority__ = 1000  # for arrays that ask this instead

    array: Array
    entry: Entry | None

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        requires_grad: bool = False,
        device: str | None = None,
    ) -> None:
        source = data.array if isinstance(data, TensorBase) else data
        array = plain_array(source, dtype)
        array = backend.to_device(array, device) if device else array
        # Arrays without elements share no memory, but may be one array.
        shared = array is source or (
            type(array) is type(source) and np.may_share_memory(array, source)
        )
        self.array = array.copy() if shared else array
        self.entry = None
        if requires_grad:
            self.entry = new_leaf(self.array)
        tell("tensor_made", self)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.array.dtype

    @property
    def device(self) -> str:
        """Where the array is: "cpu", "cuda" or "cuda:1"."""
        return backend.device_of(self.array)


class Live(TensorBase):
    """An operand that is looked up by `get` at each call: a state of some object.

    An array that stands as itself would be the one of the first call for ever, where
    calls are recorded to be made again.
    """

    __slots__ = ("get",)

    def __init__(self, get: Callable[[], Array]) -> None:
        self.get = get
        self.entry = None

    @property
    def array(self) -> Array:
        """The array now."""
        return self.get()


def new_leaf(array: Array) -> Leaf:
    """A leaf for `array`.

    Raises:
        TypeError: integers, booleans and complex numbers have no gradients.
    """
    check_differentiable(array)
    return Leaf(array.shape, array.dtype)


def check_differentiable(array: Array) -> None:
    """Refuse what has no gradients: integers, booleans and complex numbers."""
    if array.dtype.kind != "f":
        raise TypeError(
            f"a tensor of dtype {array.dtype} cannot require gradients: only real "
            "numbers have them. Make it of floats, for example with "
            "x.astype('float32'), or leave requires_grad=False."
        )


class TensorClass:
    """The class of the Tensors that operations give."""

    kind: type[TensorBase] = TensorBase


tensors = TensorClass()
new_tensor = TensorBase.__new__


def make_results(kind: type[TensorBase]) -> type[TensorBase]:
    """Let operations give Tensors of this class."""
    tensors.kind = kind
    return kind


def read(tensor: TensorBase) -> Array:
    """The array of a Tensor whose values leave the tape: the one gate for that."""
    for observer in recording.observers:
        observer.read(tensor)
    return tensor.array


def wrap(array: Any, entry: Entry | None = None) -> Any:
    """A Tensor around `array`, without a copy."""
    tensor = new_tensor(tensors.kind)
    tensor.array = array if array.__class__ in ARRAY_TYPES else as_result(array)
    tensor.entry = entry
    for observer in recording.observers:
        observer.tensor_made(tensor)
    return tensor


def array_of(x: Any) -> Any:
    """The array of a Tensor; anything else is itself."""
    if not isinstance(x, TensorBase):
        return x
    for observer in recording.observers:
        observer.met(x)
    return x.array


def with_shape(x: Any) -> Any:
    """`x` itself, or the array that a list or number stands for."""
    return x if isinstance(x, TensorBase) else plain_array(x)


def plain_array(x: Any, dtype: Any = None) -> Array:
    """`x` as an array; one that is made of a list or a number is a constant."""
    array = backend.as_array(x, dtype)
    if recording.observers and _is_plain(x):
        constant(array)
    return array


def _is_plain(x: Any) -> bool:
    """Whether something is made of Python's numbers alone."""
    parts = x if isinstance(x, list | tuple) else ()
    return not hasattr(x, "dtype") and all(map(_is_plain, parts))


def constant(array: Array) -> Array:
    """An array that is made of Python's numbers alone, and no operation's result."""
    tell("constant", array)
    return array
