"""What is composed of primitives?  No gradient rules here: the tape finds them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import backend
from minigrad.backend import as_array, as_arrays, beside, device_of, to_device
from minigrad.ops.elementwise import masked, multiply, sqrt, where
from minigrad.ops.index import IDS, checks_ids, gather, getitem
from minigrad.ops.index import scatter_add as place_at
from minigrad.ops.linalg import matmul
from minigrad.ops.reduce import log_softmax as log_softmax_along
from minigrad.ops.reduce import softmax as softmax_along
from minigrad.ops.reduce import sum
from minigrad.ops.shape import Shape, Slice, astype, expand_dims, reshape, transpose
from minigrad.ops.sums import Axis, axes_of
from minigrad.random import Generator, generator_of
from minigrad.tape import new_leaf, wrap

if TYPE_CHECKING:
    from minigrad.tensor import Tensor
else:
    from minigrad.tape import Tensor

WHOLE = Slice(None, None, None)
DLPACK_CUDA = 2  # how DLPack counts the memory of an NVIDIA GPU


# -- making tensors ----------------------------------------------------------------


def full(
    shape: int | Shape,
    value: float,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of `shape` filled with `value`.

    Raises:
        TypeError: the sizes were not given as one tuple.
    """
    if isinstance(dtype, int):
        raise TypeError(
            f"got {dtype!r} as the dtype of a tensor of shape {shape!r}: a shape is "
            "one argument. Write it as a tuple, for example zeros((2, 3))."
        )
    try:
        filled = np.full(shape, value, dtype)
    except (TypeError, ValueError, MemoryError) as error:
        kinds = (TypeError, ValueError, MemoryError)  # NumPy's own are subclasses
        raise next(kind for kind in kinds if isinstance(error, kind))(
            f"cannot make a tensor of shape {shape!r} and dtype {dtype!r}: "
            f"{str(error).rstrip('.')}. Give sizes as a tuple of whole numbers, 0 or "
            "more, and a dtype such as 'float32'."
        ) from error
    array = to_device(filled, device)
    return wrap(array, new_leaf(array) if requires_grad else None)


def zeros(
    shape: int | Shape,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of `shape` filled with zeros."""
    return full(shape, 0, dtype, device, requires_grad)


def ones(
    shape: int | Shape,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of `shape` filled with ones."""
    return full(shape, 1, dtype, device, requires_grad)


def asarray(array: Any) -> Tensor:
    """A Tensor that shares the memory of `array`: writing to one changes the other."""
    return wrap(as_array(array))


def from_dlpack(array: Any) -> Tensor:
    """A Tensor that shares the memory of another library's array, through DLPack.

    The array keeps its device. Where its library says that it must not be written to,
    or does not say (DLPack before version 1), the Tensor cannot be written to either.

    Raises:
        TypeError: the object does not offer its memory through DLPack.
        BufferError: its memory cannot be shared, as that of a tensor that carries
            gradients, or of a dtype that NumPy does not have.
        RuntimeError: it is on a GPU, and CuPy or a driver is missing.
    """
    if not hasattr(array, "__dlpack__"):
        raise TypeError(
            f"from_dlpack was given a {type(array).__name__}, which does not offer its "
            "memory through DLPack. Use minigrad.asarray for what NumPy can read."
        )
    kind, number = array.__dlpack_device__()
    read = _reader_of_gpu(number) if kind == DLPACK_CUDA else np.from_dlpack
    try:
        shared = read(array)
    except (BufferError, RuntimeError) as error:
        raise BufferError(
            f"from_dlpack cannot share the memory of this {type(array).__name__}: "
            f"{str(error).rstrip('.')}. Convert it in its own library first: detach "
            "it, or give it a dtype and a device that minigrad has."
        ) from error
    return wrap(as_array(shared))


def _reader_of_gpu(number: int) -> Any:
    """The function that reads DLPack in the library of this GPU's arrays."""
    backend.device(f"cuda:{number}")  # says what is missing
    array_type = backend.libraries["cuda"].array_type
    return sys.modules[array_type.__module__.partition(".")[0]].from_dlpack


# -- statistics --------------------------------------------------------------------


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute on float16 in float32: its sums and squares overflow at 65,504."""

    @functools.wraps(function)
    def wrapped(x: Any, *args: Any, **settings: Any) -> Any:
        x = _with_shape(x)
        if x.dtype != np.float16:
            return function(x, *args, **settings)
        wide = function(astype(x, dtype=np.float32), *args, **settings)
        return astype(wide, dtype=np.float16)

    return wrapped


@_in_float32
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Mean over axes (all, if none is named)."""
    return sum(x, axis=axis, keepdims=keepdims) / _count(x, axis)


def _with_shape(x: Any) -> Any:
    """`x` itself, or the array that a list or number stands for."""
    return x if isinstance(x, Tensor) else as_array(x)


def _array_of(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


def _count(x: Any, axis: Axis) -> int:
    count = 1
    for i in axes_of(x.ndim, axis):
        count *= x.shape[i]
    return count


@_in_float32
def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Variance over axes; the sum of squares is divided by n - ddof."""
    centred = x - mean(x, axis=axis, keepdims=True)
    squares = sum(multiply(centred, centred), axis=axis, keepdims=keepdims)
    return squares / (_count(x, axis) - ddof)


@_in_float32
def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Standard deviation over axes; where it is 0, its gradient is 0 as well."""
    return _root(var(x, axis, keepdims, ddof))


@_in_float32
def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Euclidean norm over axes; where it is 0, its gradient is 0 as well."""
    if x.dtype.kind in "iub":
        x = astype(x, dtype=np.float64)  # squares of small integers overflow
    return _root(sum(multiply(x, x), axis=axis, keepdims=keepdims))


def _root(squares: Any) -> Any:
    """The square root; at 0, where all deviations are 0, a gradient of 0."""
    zero = squares == 0
    return where(zero, 0, sqrt(where(zero, 1, squares)))


# -- probabilities -----------------------------------------------------------------


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Logarithms of probabilities along an axis: x - logsumexp(x), but exact."""
    return log_softmax_along(x, axis=axis)


def softmax(x: Any, axis: int = -1) -> Any:
    """Probabilities along an axis, e ** x over their sum, without overflow."""
    return softmax_along(x, axis=axis)


def dropout(x: Any, p: float = 0.5, generator: Generator | None = None) -> Any:
    """Zero each element with probability p and divide the others by 1 - p.

    Raises:
        ValueError: p is not in [0, 1).
        TypeError: x holds no floats, or the generator is none of minigrad's.

    Source: Srivastava et al., "Dropout", JMLR 2014 (in its inverted form).
    """
    if not (isinstance(p, int | float) and 0 <= p < 1):
        raise ValueError(
            f"dropout got p={p}: the probability of zeroing an element lies in [0, 1). "
            "Pass for example p=0.5."
        )
    x = _with_shape(x)
    if x.dtype.kind not in "fc":
        raise TypeError(
            f"dropout got {x.dtype}: what it keeps is divided by 1 - p, so it takes "
            "floats. Convert first, with x.astype('float32')."
        )
    generator = generator_of(generator)
    if p == 0:
        return x
    kept = np.asarray(generator.uniform(x.shape) >= p)
    kept = to_device(kept, device_of(_array_of(x)))
    return masked(x, kept) * (1 / (1 - p))


# -- looking up --------------------------------------------------------------------


def take(x: Any, ids: Any, axis: int = 0) -> Any:
    """Slices of `x` along an axis at integer ids; repeated ids add their gradients.

    Shapes:
        x (..., n, ...), ids (any shape) -> the axis replaced by the shape of ids.
    """
    x = _with_shape(x)
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(
            f"take along axis {axis} of a tensor of shape {x.shape}: there is no such "
            "axis. Check the axis against the shape."
        )
    axis %= x.ndim
    return gather(x, _ids_beside(ids, x), index=(WHOLE,) * axis + (IDS,))


def scatter_add(values: Any, ids: Any, size: int, axis: int = 0) -> Any:
    """Zeros with `values` added at integer ids along an axis: the adjoint of `take`.

    Shapes:
        values (..., *ids.shape, ...) -> the axes of ids, which begin at `axis`,
        replaced by one of `size`; values at repeated ids add up.

    Raises:
        ValueError: values do not have the shape of ids at `axis` (counted from 0).
    """
    values = _with_shape(values)
    array = _ids_beside(ids, values)
    before, after = values.shape[:axis], values.shape[axis + array.ndim :]
    if axis < 0 or values.shape[axis : axis + array.ndim] != array.shape:
        raise ValueError(
            f"scatter_add got values of shape {values.shape} for ids of shape "
            f"{array.shape} at axis {axis}: each id needs its value. The values' axes "
            "from `axis` on must be those of ids; reshape one of them."
        )
    shape = (*before, size, *after)
    return place_at(values, array, shape=shape, index=(WHOLE,) * axis + (IDS,))


def _ids_beside(ids: Any, x: Any) -> Any:
    """Ids as an array on the device of `x`."""
    array = ids.array if isinstance(ids, Tensor) else as_array(ids, _ids_dtype(ids))
    return beside(array, _array_of(x))


def _ids_dtype(ids: Any) -> Any:
    """Lists of ids are integers, also the empty list."""
    if hasattr(ids, "dtype"):
        return None
    return np.asarray(ids).dtype if np.size(ids) else np.dtype(int)


# -- einsum ------------------------------------------------------------------------


def einsum(equation: str, *operands: Any) -> Any:
    """Sum of products over named axes, from left to right, as matrix products.

    Example: ``einsum("nij,njk->nik", a, b)``.  Without ``->`` the result has the axes
    that occur once, in alphabetical order.

    Raises:
        ValueError: the equation does not fit the operands.
    """
    arrays = as_arrays([_array_of(x) for x in operands], numbers=True)
    operands = tuple(
        x if isinstance(x, Tensor) else array
        for x, array in zip(operands, arrays, strict=True)
    )
    inputs, output = _parse(equation, [x.ndim for x in operands])
    _check_sizes(equation, inputs, operands)
    names, result = _diagonal(inputs[0], operands[0])
    for i, operand in enumerate(operands[1:], start=1):
        later = output + "".join(inputs[i + 1 :])
        other, operand = _diagonal(inputs[i], operand)
        names, result = _contract(names, result, other, operand, later)
    summed = tuple(i for i, name in enumerate(names) if name not in output)
    result = sum(result, axis=summed) if summed else result
    names = "".join(name for name in names if name in output)
    return transpose(result, axes=tuple(names.index(name) for name in output))


def _parse(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    letters = "".join(inputs)
    if not arrow:
        output = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    fits = [len(names) for names in inputs] == ndims
    known = set(output) <= set(letters) and len(set(output)) == len(output)
    if not (fits and known and (letters + "a").isalpha()):
        raise ValueError(
            f"einsum equation {equation!r} does not fit operands with {ndims} axes: "
            "it needs one letter an axis of each operand, and an output of letters "
            "that occur in them, each once. Write for example 'ij,jk->ik'."
        )
    return inputs, output


def _check_sizes(equation: str, inputs: list[str], operands: tuple[Any, ...]) -> None:
    size: dict[str, int] = {}
    for names, operand in zip(inputs, operands, strict=True):
        for name, n in zip(names, operand.shape, strict=True):
            if size.setdefault(name, n) != n:
                raise ValueError(
                    f"einsum {equation!r}: axis {name!r} has size {size[name]} in one "
                    f"operand and {n} in another: an axis has one size. Check the "
                    f"shapes, {[x.shape for x in operands]}, or rename one axis."
                )


def _diagonal(names: str, x: Any) -> tuple[str, Any]:
    """Drop repeated names of one operand by taking the diagonal of their axes."""
    for name in names:
        if names.count(name) == 1:
            continue
        first, second = names.index(name), names.rindex(name)
        rest = [i for i in range(x.ndim) if i not in (first, second)]
        ids = np.arange(x.shape[first])
        x = getitem(transpose(x, axes=(first, second, *rest)), (ids, ids))
        names = name + "".join(names[i] for i in rest)
        return _diagonal(names, x)
    return names, x


def _contract(a: str, x: Any, b: str, y: Any, later: str) -> tuple[str, Any]:
    """The product of two operands, summed over what no later one names."""
    x, a = _sum_out(x, a, b + later)
    y, b = _sum_out(y, b, a + later)
    batch = [name for name in a if name in b and name in later]
    inner = [name for name in a if name in b and name not in later]
    left = [name for name in a if name not in b]
    right = [name for name in b if name not in a]
    size = dict(zip(a + b, (*x.shape, *y.shape), strict=True))
    x = _as_matrices(x, a, batch, left, inner)
    y = _as_matrices(y, b, batch, inner, right)
    names = batch + left + right
    shape = tuple(size[name] for name in names)
    return "".join(names), reshape(matmul(x, y), shape=shape)


def _sum_out(x: Any, names: str, wanted: str) -> tuple[Any, str]:
    gone = tuple(i for i, name in enumerate(names) if name not in wanted)
    x = sum(x, axis=gone) if gone else x
    return x, "".join(name for name in names if name in wanted)


def _as_matrices(
    x: Any, names: str, batch: list[str], rows: list[str], columns: list[str]
) -> Any:
    order = [names.index(name) for name in (*batch, *rows, *columns)]
    x = transpose(x, axes=tuple(order))
    cut, end = len(batch), len(batch) + len(rows)
    sizes = [_product(x.shape[cut:end]), _product(x.shape[end:])]
    return reshape(x, shape=(*x.shape[:cut], *sizes))


def _product(sizes: Shape) -> int:
    return int(np.prod(sizes, dtype=int))


# -- conveniences ------------------------------------------------------------------


def one_hot(ids: Any, classes: int, dtype: Any = "float32") -> Tensor:
    """Rows of the identity matrix: (...) integers -> (..., classes).

    Raises:
        TypeError: ids are no integers.
        IndexError: an id is not one of 0, ..., classes - 1 (on a GPU only inside
            detect_anomaly(); otherwise its row is zeros).
    """
    array = ids.array if isinstance(ids, Tensor) else np.asarray(ids)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(
            f"one_hot got ids of dtype {array.dtype}: an id is a whole number. Convert "
            "them, for example with .astype(int)."
        )
    looked_at = array.size and (isinstance(array, np.ndarray) or checks_ids())
    if looked_at and not (array.min() >= 0 and array.max() < classes):
        raise IndexError(
            f"one_hot got ids from {array.min()} to {array.max()} for {classes} "
            "classes: an id is at least 0 and below that number. Check the ids."
        )
    columns = np.arange(classes, like=array)
    return wrap((expand_dims(array, axis=-1) == columns).astype(dtype))
