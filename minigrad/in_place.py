"""Writing into Tensors in place, and what is refused there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.tape import Leaf, TensorBase, array_of, record_write, recording


def like(self: TensorBase, data: Any) -> Any:
    """Data as an array: lists in the tensor's dtype, arrays in their own."""
    listed = isinstance(data, list | tuple | int | float)
    return backend.as_array(data, self.array.dtype if listed else None)


def refuse_recorded(tensor: TensorBase, action: str) -> None:
    """Refuse to change the result of an operation."""
    if tensor.entry is not None and not isinstance(tensor.entry, Leaf):
        raise RuntimeError(
            f"{action} on the result of {tensor.entry.name} (entry "
            f"{tensor.entry.order}) would make its gradient wrong: the tape does not "
            "record writes. Write into Tensor(x.detach()), or compute a new tensor, "
            "for example with where()."
        )


def write(self: TensorBase, key: Any, values: Any, operation: str) -> None:
    """Write into the array and stamp it, so that backward notices a stale read."""
    refuse_recorded(self, operation)
    _refuse_lost_gradients(self, values, operation)
    array = _storable(self, values, operation)
    try:
        self.array[plain(key)] = array
    except (ValueError, IndexError) as error:
        raise type(error)(
            f"{operation} of values of shape {np.shape(array)} into a tensor of shape "
            f"{self.array.shape} failed: {error}. The values must broadcast to the "
            "part that is written: check key and shapes."
        ) from error
    record_write(self.array, operation)


def _refuse_lost_gradients(self: TensorBase, values: Any, operation: str) -> None:
    if not recording.enabled:
        return
    if self.entry is not None:
        raise RuntimeError(
            f"{operation} on a leaf that requires gradients: the tape does not record "
            "writes. Do it inside no_grad(), as an optimiser does."
        )
    if isinstance(values, TensorBase) and values.entry is not None:
        raise RuntimeError(
            f"{operation} with values that carry gradients: the tape does not record "
            "writes, so their gradient would be lost. Build the tensor with stack, "
            "concatenate or where, or write values.detach()."
        )


def _storable(self: TensorBase, values: Any, operation: str) -> Any:
    """The values on the tensor's device, if its dtype can hold them."""
    array = plain(values)
    if isinstance(array, list | tuple):
        array = np.asarray(array, self.array.dtype)
    if not backend.is_array(array):
        return array
    if not np.can_cast(array.dtype, self.array.dtype, "same_kind"):
        raise TypeError(
            f"{operation} would store {array.dtype} values in a tensor of dtype "
            f"{self.array.dtype} and lose what that cannot hold. Convert one of them "
            "first, for example with .astype('float32')."
        )
    return backend.to_device(array, backend.device_of(self.array))


def plain(value: Any) -> Any:
    """The array of a Tensor, also within an index."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return array_of(value)


def in_place(operator: Callable[[Any, Any], Any], sign: str) -> Callable[..., Any]:
    """``x += y``: recorded results get a new tensor, plain data is written in place."""

    def update(self: Any, other: Any) -> Any:
        moves = isinstance(other, TensorBase) and other.entry is not None
        leaf = isinstance(self.entry, Leaf)
        if recording.enabled and not leaf and (moves or self.entry is not None):
            return operator(self, other)
        result = operator(self.array, plain(other))
        write(self, Ellipsis, result, sign)
        return self

    return update
