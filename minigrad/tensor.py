"""What can a Tensor do?  Its operators and methods, attached from one visible table.

A recorded operation is a plain function whose first argument is the tensor, so it
serves as the method as it is.  `tensor.pyi` says the same to editors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import backend, functions
from minigrad.ops import elementwise, index, linalg, reduce, shape
from minigrad.tape import (
    Entry,
    Leaf,
    Tensor,
    backward,
    new_leaf,
    record_write,
    recording,
    wrap,
)

__all__ = ["Tensor"]


# -- the array behind --------------------------------------------------------------


def _get_data(self: Tensor) -> Any:
    return self.array


def _set_data(self: Tensor, data: Any) -> None:
    """Replace the array of a leaf or of plain data."""
    array = data.array if isinstance(data, Tensor) else _like(self, data)
    if self.entry is not None:
        _refuse_recorded(self, "assigning .data")
        if array.shape != self.array.shape or array.dtype != self.array.dtype:
            raise ValueError(
                f"cannot assign data of {array.dtype}{list(array.shape)} to a leaf of "
                f"{self.array.dtype}{list(self.array.shape)}: its gradient has that "
                "shape and dtype. Make a new Tensor instead."
            )
    self.array = array


def _like(self: Tensor, data: Any) -> Any:
    """Data as an array: lists in the tensor's dtype, arrays in their own."""
    listed = isinstance(data, list | tuple | int | float)
    return backend.as_array(data, self.array.dtype if listed else None)


def _refuse_recorded(tensor: Tensor, action: str) -> None:
    if tensor.entry is not None and not isinstance(tensor.entry, Leaf):
        raise RuntimeError(
            f"{action} on the result of {tensor.entry.name} (entry "
            f"{tensor.entry.order}) would make its gradient wrong: the tape does not "
            "record writes. Write into Tensor(x.detach()), or compute a new tensor, "
            "for "
            "example with where()."
        )


def _get_grad(self: Tensor) -> Tensor | None:
    return self.entry.grad if isinstance(self.entry, Leaf) else None


def _set_grad(self: Tensor, gradient: Any) -> None:
    if not isinstance(self.entry, Leaf):
        raise RuntimeError(
            "only a leaf (a Tensor made with requires_grad=True) holds a .grad: this "
            "tensor is a result or a constant. Use minigrad.grad for its gradient."
        )
    if gradient is not None:
        if not isinstance(gradient, Tensor):
            gradient = wrap(_like(self, gradient))
        if gradient.shape != self.array.shape:
            raise ValueError(
                f"a gradient of shape {gradient.shape} does not fit a tensor of shape "
                f"{self.array.shape}. Assign one of the same shape, or None."
            )
        # Without its history: a leaf holding a graph that holds the leaf would not die.
        # A copy: one array given to two leaves would be clipped or scaled twice.
        array = gradient.array.astype(self.array.dtype)
        gradient = wrap(backend.to_device(array, backend.device_of(self.array)))
    self.entry.grad = gradient


def _get_requires_grad(self: Tensor) -> bool:
    return self.entry is not None


def _set_requires_grad(self: Tensor, wanted: bool) -> None:
    if self.entry is not None and not isinstance(self.entry, Leaf):
        raise RuntimeError(
            f"requires_grad of the result of {self.entry.name} follows from its "
            "operands and cannot be set. Use x.detach() for a tensor without history."
        )
    if wanted and self.entry is None:
        self.entry = new_leaf(self.array)
    elif not wanted:
        self.entry = None


def detach(self: Tensor) -> Tensor:
    """The same array without its history: gradients stop here."""
    return wrap(self.array)


def numpy(self: Tensor) -> np.ndarray:
    """The values as a NumPy array: shared on the CPU, copied from a GPU."""
    return backend.to_numpy(self.array)


def as_numpy_input(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    """What NumPy and plotting call: the values of plain data, an error for others."""
    if self.entry is not None or not isinstance(self.array, np.ndarray):
        raise TypeError(
            "NumPy was given a tensor that is recorded or on a GPU: its gradient would "
            "be lost without a word. Use the tensor's own methods or minigrad's "
            "functions, or pass x.detach().numpy()."
        )
    return np.array(self.array, dtype=dtype, copy=copy)


def as_dlpack(self: Tensor, **request: Any) -> Any:
    """What torch.from_dlpack and others call: the memory of plain data, shared.

    Raises:
        BufferError: the tensor is recorded, or its library cannot share it.
    """
    if self.entry is not None:
        raise BufferError(
            "DLPack was asked for a tensor that requires gradients: what another "
            "library does with its memory is not on the tape. Share x.detach()."
        )
    return self.array.__dlpack__(**request)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """The kind and number of the tensor's device as DLPack counts them."""
    return self.array.__dlpack_device__()


def item(self: Tensor) -> Any:
    """The value of a tensor with one element as a Python number.

    Raises:
        ValueError: there is not exactly one element.
    """
    if self.array.size != 1:
        raise ValueError(
            f"item() of a tensor of shape {self.array.shape}: only a tensor with one "
            "element is a number. Reduce it first, or use .numpy()."
        )
    return self.array.item()


def to(self: Tensor, device: str) -> Tensor:
    """The tensor on another device, as a new leaf where this one is a leaf."""
    array = backend.to_device(self.array, device)
    if array is self.array:
        return self
    _refuse_recorded(self, "moving to another device")
    return wrap(array, self.entry and new_leaf(array))


def copy_(self: Tensor, values: Any) -> Tensor:
    """Overwrite all elements in place."""
    _write(self, Ellipsis, values, "copy_")
    return self


def _setitem(self: Tensor, key: Any, values: Any) -> None:
    _write(self, key, values, "an assignment to [...]")


def _write(self: Tensor, key: Any, values: Any, operation: str) -> None:
    """Write into the array and stamp it, so that backward notices a stale read."""
    _refuse_recorded(self, operation)
    _refuse_lost_gradients(self, values, operation)
    array = _storable(self, values, operation)
    try:
        self.array[_plain(key)] = array
    except (ValueError, IndexError) as error:
        raise type(error)(
            f"{operation} of values of shape {np.shape(array)} into a tensor of shape "
            f"{self.array.shape} failed: {error}. The values must broadcast to the "
            "part that is written: check key and shapes."
        ) from error
    record_write(self.array, operation)


def _refuse_lost_gradients(self: Tensor, values: Any, operation: str) -> None:
    if not recording.enabled:
        return
    if self.entry is not None:
        raise RuntimeError(
            f"{operation} on a leaf that requires gradients: the tape does not record "
            "writes. Do it inside no_grad(), as an optimiser does."
        )
    if isinstance(values, Tensor) and values.entry is not None:
        raise RuntimeError(
            f"{operation} with values that carry gradients: the tape does not record "
            "writes, so their gradient would be lost. Build the tensor with stack, "
            "concatenate or where, or write values.detach()."
        )


def _storable(self: Tensor, values: Any, operation: str) -> Any:
    """The values on the tensor's device, if its dtype can hold them."""
    array = _plain(values)
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


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.array if isinstance(value, Tensor) else value


def _in_place(operator: Callable[[Any, Any], Any], sign: str) -> Callable[..., Tensor]:
    """``x += y``: recorded results get a new tensor, plain data is written in place."""

    def update(self: Tensor, other: Any) -> Tensor:
        moves = isinstance(other, Tensor) and other.entry is not None
        leaf = isinstance(self.entry, Leaf)
        if recording.enabled and not leaf and (moves or self.entry is not None):
            return operator(self, other)
        result = operator(self.array, _plain(other))
        _write(self, Ellipsis, result, sign)
        return self

    return update


# -- gradients ---------------------------------------------------------------------


def register_hook(
    self: Tensor, hook: Callable[[Tensor], Tensor | None]
) -> Callable[[], None]:
    """Call `hook` with this tensor's complete gradient; it may return another one.

    Returns:
        A function that removes the hook.

    Raises:
        RuntimeError: the tensor does not require gradients.
    """
    if self.entry is None:
        raise RuntimeError(
            "register_hook() on a tensor that does not require gradients: there will "
            "be "
            "none to show. Make it with requires_grad=True."
        )
    entry = self.entry
    entry.note("hooks", (*_hooks(entry), hook))

    def remove() -> None:
        entry.note("hooks", tuple(h for h in _hooks(entry) if h is not hook))

    return remove


def _hooks(entry: Entry) -> tuple[Any, ...]:
    return (entry.notes or {}).get("hooks", ())


def zero_grad(self: Tensor) -> None:
    """Forget the gradient."""
    if isinstance(self.entry, Leaf):
        self.entry.grad = None


# -- methods that differ a little from their function ------------------------------


def reshape(self: Tensor, *sizes: Any) -> Tensor:
    """The same elements in another shape: x.reshape(2, 3) or x.reshape((2, 3))."""
    whole = sizes[0] if len(sizes) == 1 else sizes
    return shape.reshape(self, shape=whole)


def transpose(self: Tensor, *axes: Any) -> Tensor:
    """Permute the axes: x.transpose(1, 0), x.transpose((1, 0)), or all reversed."""
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return shape.transpose(self, axes=tuple(order) if order else None)


def iterate(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first axis, whose gradients are joined once."""
    if self.array.ndim == 0:
        raise TypeError(
            "iteration over a tensor without axes: it is a single number. Use .item()."
        )
    return iter(shape.unstack(self) if len(self.array) else ())


def represent(self: Tensor) -> str:
    """The values, as NumPy prints them, and what made the tensor."""
    values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
    facts = [f"dtype={self.array.dtype}"] if self.array.dtype != np.float32 else []
    if backend.device_of(self.array) != "cpu":
        facts.append(f"device={backend.device_of(self.array)!r}")
    if isinstance(self.entry, Leaf):
        facts.append("requires_grad=True")
    elif self.entry is not None:
        facts.append(f"from={self.entry.name}")
    return f"Tensor({', '.join([values, *facts])})"


def as_integer(self: Tensor) -> int:
    """What Python calls for ``words[t]``: the value of a single integer."""
    if self.array.dtype.kind not in "iu" or self.array.size != 1:
        raise TypeError(
            f"a tensor of dtype {self.array.dtype} and shape {self.array.shape} cannot "
            "index a list: one integer can. Use int(t), or .tolist() of .numpy()."
        )
    return int(self.array.item())


def formatted(self: Tensor, spec: str) -> str:
    """What ``f"{loss:.3f}"`` calls: a single number by `spec`, others as printed."""
    return format(self.item(), spec) if spec else str(self)


def reduced(self: Tensor) -> tuple[Any, ...]:
    """What copy.deepcopy and pickle call: a copy is a leaf or plain data of its own."""
    _refuse_recorded(self, "copying or pickling")
    return _rebuilt, (type(self), self.numpy(), self.device, self.entry is not None)


def _rebuilt(kind: type[Tensor], array: Any, device: str, wanted: bool) -> Tensor:
    tensor = kind.__new__(kind)
    tensor.array = backend.to_device(np.array(array), device)
    tensor.entry = new_leaf(tensor.array) if wanted else None
    return tensor


def equals(self: Tensor, other: Any) -> Any:
    """Elementwise ``==``; nothing equals None."""
    return False if other is None else elementwise.equal(self, other)


def differs(self: Tensor, other: Any) -> Any:
    """Elementwise ``!=``; everything differs from None."""
    return True if other is None else elementwise.not_equal(self, other)


def truth(self: Tensor) -> bool:
    """The truth of a single element.

    Raises:
        ValueError: there are several elements, or none.
    """
    if self.array.size != 1:
        raise ValueError(
            f"the truth of a tensor of shape {self.array.shape} is ambiguous: it holds "
            f"{self.array.size} values. Reduce it first, for example with "
            "(x > 0).numpy().all() or .any()."
        )
    return bool(self.array)


# -- the table ---------------------------------------------------------------------


def _swapped(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: operation(other, self)


PROPERTIES: dict[str, property] = {
    "data": property(_get_data, _set_data, doc="The array behind; can be assigned."),
    "grad": property(_get_grad, _set_grad, doc="A leaf's gradient, or None."),
    "requires_grad": property(_get_requires_grad, _set_requires_grad),
    "shape": property(lambda self: self.array.shape),
    "ndim": property(lambda self: self.array.ndim),
    "size": property(lambda self: self.array.size),
    "dtype": property(lambda self: self.array.dtype),
    "device": property(lambda self: backend.device_of(self.array)),
    "T": property(shape.transpose, doc="The axes reversed."),
}

OPERATORS: dict[str, Any] = {
    "__add__": elementwise.add,
    "__radd__": elementwise.add,
    "__sub__": elementwise.subtract,
    "__rsub__": _swapped(elementwise.subtract),
    "__mul__": elementwise.multiply,
    "__rmul__": elementwise.multiply,
    "__truediv__": elementwise.divide,
    "__rtruediv__": _swapped(elementwise.divide),
    "__pow__": elementwise.power,
    "__rpow__": _swapped(elementwise.power),
    "__matmul__": linalg.matmul,
    "__rmatmul__": _swapped(linalg.matmul),
    "__neg__": elementwise.negative,
    "__abs__": elementwise.absolute,
    "__eq__": equals,
    "__ne__": differs,
    "__lt__": elementwise.less,
    "__le__": elementwise.less_equal,
    "__gt__": elementwise.greater,
    "__ge__": elementwise.greater_equal,
    "__invert__": elementwise.bitwise_not,
    "__and__": elementwise.bitwise_and,
    "__or__": elementwise.bitwise_or,
    "__rand__": elementwise.bitwise_and,
    "__ror__": elementwise.bitwise_or,
    "__iadd__": _in_place(elementwise.add, "+="),
    "__isub__": _in_place(elementwise.subtract, "-="),
    "__imul__": _in_place(elementwise.multiply, "*="),
    "__itruediv__": _in_place(elementwise.divide, "/="),
    "__getitem__": index.getitem,
    "__setitem__": _setitem,
    "__iter__": iterate,
    "__len__": lambda self: len(self.array),
    "__bool__": truth,
    "__float__": lambda self: float(self.item()),
    "__int__": lambda self: int(self.item()),
    "__index__": as_integer,
    "__format__": formatted,
    "__reduce__": reduced,
    "__repr__": represent,
    "__hash__": object.__hash__,
    "__array__": as_numpy_input,
    "__dlpack__": as_dlpack,
    "__dlpack_device__": dlpack_device,
}

METHODS: dict[str, Any] = {
    "backward": backward,
    "detach": detach,
    "numpy": numpy,
    "item": item,
    "to": to,
    "copy_": copy_,
    "register_hook": register_hook,
    "zero_grad": zero_grad,
    "astype": shape.astype,
    "reshape": reshape,
    "transpose": transpose,
    "swapaxes": shape.swapaxes,
    "broadcast_to": shape.broadcast_to,
    "expand_dims": shape.expand_dims,
    "squeeze": shape.squeeze,
    "flip": shape.flip,
    "split": shape.split,
    "unstack": shape.unstack,
    "take": functions.take,
    "abs": elementwise.absolute,
    "sqrt": elementwise.sqrt,
    "exp": elementwise.exp,
    "log": elementwise.log,
    "log1p": elementwise.log1p,
    "expm1": elementwise.expm1,
    "tanh": elementwise.tanh,
    "sigmoid": elementwise.sigmoid,
    "relu": elementwise.relu,
    "softplus": elementwise.softplus,
    "sin": elementwise.sin,
    "cos": elementwise.cos,
    "clip": elementwise.clip,
    "sum": reduce.sum,
    "prod": reduce.prod,
    "max": reduce.max,
    "min": reduce.min,
    "cumsum": reduce.cumsum,
    "logsumexp": reduce.logsumexp,
    "argmax": reduce.argmax,
    "argmin": reduce.argmin,
    "mean": functions.mean,
    "var": functions.var,
    "std": functions.std,
    "norm": functions.norm,
    "softmax": functions.softmax,
    "log_softmax": functions.log_softmax,
}

for _name, _member in {**PROPERTIES, **OPERATORS, **METHODS}.items():
    setattr(Tensor, _name, _member)
