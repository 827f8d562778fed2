"""The Tensor: its operators and methods.

A recorded operation is a plain function whose first argument is the tensor, so it
serves as the method as it is: most of the class are plain assignments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from minigrad import backend, functions
from minigrad.in_place import in_place, like, refuse_recorded, write
from minigrad.ops import elementwise, index, linalg, reduce
from minigrad.ops import shape as shapes
from minigrad.ops.sources import moved
from minigrad.tape import (
    Entry,
    Leaf,
    TensorBase,
    array_of,
    backward,
    make_results,
    new_leaf,
    read,
    recording,
    tell,
    wrap,
)

__all__ = ["Tensor"]

Operation = Callable[..., "Tensor"]


def _method(operation: Callable[..., Any]) -> Operation:
    """The same function, of which type checkers then know that it gives a Tensor."""
    return operation


def _swapped(operation: Callable[[Any, Any], Any]) -> Operation:
    return lambda self, other: operation(other, self)


@make_results
class Tensor(TensorBase):
    """An array and, where gradients are wanted, the entry that made it.

    `Tensor(data)` copies; `minigrad.asarray` shares.  Python numbers and lists become
    float32, arrays keep their dtype.

    Raises:
        TypeError: data is not numeric, or an integer tensor is to require gradients.
    """

    __slots__ = ()

    # -- the array behind ----------------------------------------------------------

    @property
    def data(self) -> Any:
        """The array behind; can be assigned, where no result depends on it."""
        return read(self)

    @data.setter
    def data(self, data: Any) -> None:
        """Replace the array of a leaf or of plain data."""
        tell("wrote", self.array, "assigning .data")
        array = data.array if isinstance(data, Tensor) else like(self, data)
        if self.entry is not None:
            refuse_recorded(self, "assigning .data")
            if array.shape != self.array.shape or array.dtype != self.array.dtype:
                raise ValueError(
                    f"cannot assign data of {array.dtype}{list(array.shape)} to a leaf "
                    f"of {self.array.dtype}{list(self.array.shape)}: its gradient has "
                    "that shape and dtype. Make a new Tensor instead."
                )
        self.array = array

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: shared on the CPU, copied from a GPU."""
        return backend.to_numpy(read(self))

    def item(self) -> Any:
        """The value of a tensor with one element as a Python number.

        Raises:
            ValueError: there is not exactly one element.
        """
        if self.array.size != 1:
            raise ValueError(
                f"item() of a tensor of shape {self.array.shape}: only a tensor with "
                "one element is a number. Reduce it first, or use .numpy()."
            )
        return read(self).item()

    def to(self, device: str) -> Self:
        """The tensor on another device, as a new leaf where this one is a leaf."""
        if self.entry is None and recording.observers:
            return moved(self, device=device)  # a call that is seen
        array = backend.to_device(self.array, device)
        if array is self.array:
            return self
        refuse_recorded(self, "moving to another device")
        return wrap(array, self.entry and new_leaf(array))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """What NumPy and plotting call: the values of plain data alone."""
        if self.entry is not None or not isinstance(self.array, np.ndarray):
            raise TypeError(
                "NumPy was given a tensor that is recorded or on a GPU: its gradient "
                "would be lost without a word. Use the tensor's own methods or "
                "minigrad's functions, or pass x.detach().numpy()."
            )
        return np.array(read(self), dtype=dtype, copy=copy)

    def __dlpack__(self, **request: Any) -> Any:
        """What torch.from_dlpack and others call: the memory of plain data, shared.

        Raises:
            BufferError: the tensor is recorded, or its library cannot share it.
        """
        if self.entry is not None:
            raise BufferError(
                "DLPack was asked for a tensor that requires gradients: what another "
                "library does with its memory is not on the tape. Share x.detach()."
            )
        return read(self).__dlpack__(**request)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The kind and number of the tensor's device as DLPack counts them."""
        return self.array.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        """What copy.deepcopy and pickle call: a copy is a leaf or plain data."""
        refuse_recorded(self, "copying or pickling")
        return _rebuilt, (type(self), self.numpy(), self.device, self.entry is not None)

    def __repr__(self) -> str:
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

    def __format__(self, spec: str) -> str:
        """What ``f"{loss:.3f}"`` calls: a number by `spec`, others as printed."""
        return format(self.item(), spec) if spec else str(self)

    def __bool__(self) -> bool:
        """The truth of a single element.

        Raises:
            ValueError: there are several elements, or none.
        """
        if self.array.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.array.shape} is ambiguous: it "
                f"holds {self.array.size} values. Reduce it first, for example with (x "
                "> 0).numpy().all() or .any()."
            )
        return bool(read(self))

    def __float__(self) -> float:
        """The value of a single element."""
        return float(self.item())

    def __int__(self) -> int:
        """The value of a single element."""
        return int(self.item())

    def __index__(self) -> int:
        """What Python calls for ``words[t]``: the value of a single integer."""
        if self.array.dtype.kind not in "iu" or self.array.size != 1:
            raise TypeError(
                f"a tensor of dtype {self.array.dtype} and shape {self.array.shape} "
                "cannot index a list: one integer can. Use int(t), or .tolist() of "
                ".numpy()."
            )
        return int(self.item())

    def __len__(self) -> int:
        """The size of the first axis."""
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        """The slices along the first axis, whose gradients are joined once."""
        if self.array.ndim == 0:
            raise TypeError("iteration over a tensor without axes: use .item().")
        return iter(shapes.unstack(self) if len(self.array) else ())

    # -- gradients -----------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients reach this tensor; can be set where it is no result."""
        return self.entry is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self.entry is not None and not isinstance(self.entry, Leaf):
            raise RuntimeError(
                f"requires_grad of the result of {self.entry.name} follows from its "
                "operands and cannot be set. Use x.detach() for a tensor without "
                "history."
            )
        if wanted and self.entry is None:
            self.entry = new_leaf(self.array)
        elif not wanted:
            self.entry = None

    @property
    def grad(self) -> Tensor | None:
        """A leaf's gradient, or None."""
        if not isinstance(self.entry, Leaf):
            return None
        tell("grad_read", self.entry)
        return self.entry.grad

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if not isinstance(self.entry, Leaf):
            raise RuntimeError(
                "only a leaf (a Tensor made with requires_grad=True) holds a .grad: "
                "this tensor is a result or a constant. Use minigrad.grad for its "
                "gradient."
            )
        if gradient is not None:
            if not isinstance(gradient, Tensor):
                gradient = wrap(like(self, gradient))
            if gradient.shape != self.array.shape:
                raise ValueError(
                    f"a gradient of shape {gradient.shape} does not fit a tensor of "
                    f"shape {self.array.shape}. Assign one of the same shape, or None."
                )
            # Without its history: a leaf that held the graph which holds the leaf would
            # not die. A copy: one array of two leaves would be clipped twice.
            gradient = shapes.astype(gradient.detach(), dtype=self.array.dtype)
            gradient = gradient.to(self.device)
        _assign_grad(self.entry, gradient)

    backward = backward

    def detach(self) -> Tensor:
        """The same array without its history: gradients stop here."""
        return wrap(array_of(self))

    def register_hook(
        self, hook: Callable[[Tensor], Tensor | None]
    ) -> Callable[[], None]:
        """Call `hook` with this tensor's complete gradient; it may return another one.

        Returns:
            A function that removes the hook.

        Raises:
            RuntimeError: the tensor does not require gradients.
        """
        if self.entry is None:
            raise RuntimeError(
                "register_hook() on a tensor that does not require gradients: there "
                "will be none to show. Make it with requires_grad=True."
            )
        entry = self.entry
        entry.note("hooks", (*_hooks(entry), hook))

        def remove() -> None:
            entry.note("hooks", tuple(h for h in _hooks(entry) if h is not hook))

        return remove

    def zero_grad(self) -> None:
        """Forget the gradient."""
        if isinstance(self.entry, Leaf):
            _assign_grad(self.entry, None)

    # -- writing in place ----------------------------------------------------------

    def copy_(self, values: Any) -> Tensor:
        """Overwrite all elements in place."""
        write(self, Ellipsis, values, "copy_")
        return self

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write into a part, in place; the tape does not record it."""
        write(self, key, values, "an assignment to [...]")

    __iadd__ = in_place(elementwise.add, "+=")
    __isub__ = in_place(elementwise.subtract, "-=")
    __imul__ = in_place(elementwise.multiply, "*=")
    __itruediv__ = in_place(elementwise.divide, "/=")

    # -- operators -----------------------------------------------------------------

    __add__ = _method(elementwise.add)
    __radd__ = _method(elementwise.add)
    __sub__ = _method(elementwise.subtract)
    __rsub__ = _swapped(elementwise.subtract)
    __mul__ = _method(elementwise.multiply)
    __rmul__ = _method(elementwise.multiply)
    __truediv__ = _method(elementwise.divide)
    __rtruediv__ = _swapped(elementwise.divide)
    __pow__ = _method(elementwise.power)
    __rpow__ = _swapped(elementwise.power)
    __matmul__ = _method(linalg.matmul)
    __rmatmul__ = _swapped(linalg.matmul)
    __neg__ = _method(elementwise.negative)
    __abs__ = _method(elementwise.absolute)
    __lt__ = _method(elementwise.less)
    __le__ = _method(elementwise.less_equal)
    __gt__ = _method(elementwise.greater)
    __ge__ = _method(elementwise.greater_equal)
    __invert__ = _method(elementwise.bitwise_not)
    __and__ = _method(elementwise.bitwise_and)
    __or__ = _method(elementwise.bitwise_or)
    __rand__ = _method(elementwise.bitwise_and)
    __ror__ = _method(elementwise.bitwise_or)
    __getitem__ = _method(index.getitem)
    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        """Elementwise ``==``; nothing equals None."""
        return False if other is None else elementwise.equal(self, other)

    def __ne__(self, other: Any) -> Any:
        """Elementwise ``!=``; everything differs from None."""
        return True if other is None else elementwise.not_equal(self, other)

    # -- operations as methods -----------------------------------------------------

    T = property(shapes.transpose, doc="The axes reversed.")
    astype = _method(shapes.astype)
    swapaxes = _method(shapes.swapaxes)
    broadcast_to = _method(shapes.broadcast_to)
    expand_dims = _method(shapes.expand_dims)
    squeeze = _method(shapes.squeeze)
    flip = _method(shapes.flip)
    take = _method(functions.take)
    abs = _method(elementwise.absolute)
    sqrt = _method(elementwise.sqrt)
    exp = _method(elementwise.exp)
    log = _method(elementwise.log)
    log1p = _method(elementwise.log1p)
    expm1 = _method(elementwise.expm1)
    tanh = _method(elementwise.tanh)
    sigmoid = _method(elementwise.sigmoid)
    relu = _method(elementwise.relu)
    softplus = _method(elementwise.softplus)
    sin = _method(elementwise.sin)
    cos = _method(elementwise.cos)
    clip = _method(elementwise.clip)
    sum = _method(reduce.sum)
    prod = _method(reduce.prod)
    max = _method(reduce.max)
    min = _method(reduce.min)
    cumsum = _method(reduce.cumsum)
    logsumexp = _method(reduce.logsumexp)
    argmax = _method(reduce.argmax)
    argmin = _method(reduce.argmin)
    mean = _method(functions.mean)
    var = _method(functions.var)
    std = _method(functions.std)
    norm = _method(functions.norm)
    softmax = _method(functions.softmax)
    log_softmax = _method(functions.log_softmax)
    split: Callable[..., list[Tensor]] = shapes.split
    unstack: Callable[..., list[Tensor]] = shapes.unstack

    def reshape(self, *sizes: Any) -> Tensor:
        """The same elements in another shape: x.reshape(2, 3) or x.reshape((2, 3))."""
        whole = sizes[0] if len(sizes) == 1 else sizes
        return shapes.reshape(self, shape=whole)

    def transpose(self, *axes: Any) -> Tensor:
        """Permute the axes: x.transpose(1, 0), x.transpose((1, 0)), or all reversed."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return shapes.transpose(self, axes=tuple(order) if order else None)


def _assign_grad(leaf: Leaf, gradient: Any) -> None:
    before, leaf.grad = leaf.grad, gradient
    tell("grad_assigned", leaf, before)


def _hooks(entry: Entry) -> tuple[Any, ...]:
    return (entry.notes or {}).get("hooks", ())


def _rebuilt(kind: type[Tensor], array: Any, device: str, wanted: bool) -> Tensor:
    tensor = kind.__new__(kind)
    tensor.array = backend.to_device(np.array(array), device)
    tensor.entry = new_leaf(tensor.array) if wanted else None
    return tensor
