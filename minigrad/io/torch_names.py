"""What a pickle of PyTorch's may name: tensors, storages and plain containers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.io.errors import RefusedError
from minigrad.io.limits import in_words, is_too_much
from minigrad.io.numbers import (
    BFLOAT16,
    are_sizes,
    decode,
    dtype_in_memory,
    memory_of,
    size_in_file,
)
from minigrad.io.torch_pickle import SCALARS


class Kind(NamedTuple):
    """What a storage class or dtype says about the bytes: "float32", "bfloat16" ..."""

    numbers: str


class Storage:
    """One piece of memory that tensors are views of, filled when its bytes are read."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind = kind
        self.array = np.zeros(count, dtype_in_memory(kind))
        self.nbytes = count * size_in_file(kind)

    def fill(self, data: bytes, byte_order: str = "<") -> None:
        """Take over the bytes of the file."""
        if len(data) != self.nbytes:
            raise ValueError(
                f"a storage of {self.array.size} numbers of {self.kind} needs "
                f"{self.nbytes} bytes, and there are {len(data)}"
            )
        self.array[...] = decode(data, self.kind, byte_order)


# Nothing below puts a value that was read into a message before its type is known: the
# text of nested tuples that share their items can be endless.


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any
) -> np.ndarray:
    """A view of a storage, once it is known to lie inside: `_rebuild_tensor_v2`.

    `rest`: whether it requires gradients, hooks and, if there are any, metadata.
    """
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise ValueError("a tensor in it has no storage")
    _require_plain(*rest[2:])
    return _view(storage, offset, shape, strides)


def _tensor_of_dtype(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any,
    hooks: Any,
    kind: Any,
    *metadata: Any,
) -> np.ndarray:
    """A view of a storage of bytes as numbers of a dtype: `_rebuild_tensor_v3`."""
    fits = isinstance(storage, np.ndarray) and storage.dtype == np.uint8
    if not fits or storage.ndim != 1 or not isinstance(kind, np.dtype):
        raise ValueError("a tensor in it has no storage of bytes, or no dtype")
    _require_plain(*metadata)
    return _view(storage.view(kind), offset, shape, strides)


def _require_plain(metadata: Any = None) -> None:
    """Raise where a tensor's numbers are not those of its storage, but their opposite.

    PyTorch conjugates and negates some tensors by setting a bit alone: "conj", "neg".
    """
    bits = {} if metadata is None else metadata
    if type(bits) is not dict or any(value is not False for value in bits.values()):
        raise RefusedError(
            "a tensor in it is stored as the conjugate or the negative of its numbers, "
            "or in another way that is not read. With PyTorch, save "
            "tensor.resolve_conj().resolve_neg() in its place"
        )


def _view(array: np.ndarray, offset: Any, shape: Any, strides: Any) -> np.ndarray:
    """The elements of a flat array that shape and strides (in elements) pick out."""
    if not (are_sizes([offset]) and are_sizes(shape) and are_sizes(strides)):
        raise ValueError("offset, shape or strides of a tensor in it are none")
    if len(shape) != len(strides):
        raise ValueError(f"a tensor of {len(shape)} axes has {len(strides)} strides")
    steps = list(zip(shape, strides, strict=True))
    empty = 0 in shape
    if not empty and offset + sum((n - 1) * step for n, step in steps) >= array.size:
        raise ValueError(
            f"a tensor of shape {tuple(shape)} with strides {tuple(strides)}, from "
            f"element {offset} on, reaches beyond its storage of {array.size} elements"
        )
    needed = memory_of(tuple(shape), array.dtype.name)
    if is_too_much(needed, array.nbytes):
        raise ValueError(
            f"a tensor in it repeats the {in_words(array.nbytes)} of its storage up to "
            f"{in_words(needed)}"
        )
    if empty:
        return np.empty(shape, array.dtype)
    apart = all(n <= 1 or step for n, step in steps)
    in_bytes = [step * array.itemsize for step in strides]
    as_strided = np.lib.stride_tricks.as_strided
    return as_strided(array[offset:], shape, in_bytes, writeable=apart)


def _parameter(data: Any, requires_grad: Any = True, hooks: Any = None) -> Any:
    return data


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """An OrderedDict's content, which Python 2 wrote as a list of pairs."""
    pairs = list(pairs) if isinstance(pairs, list | tuple) else [None]
    if not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise ValueError("an OrderedDict in it is made of something else than pairs")
    if not all(type(key) in SCALARS for key, _ in pairs):
        raise ValueError("a key in it is neither text nor number")
    return dict(pairs)


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, list | tuple) or not all(
        type(x) in SCALARS for x in items
    ):
        raise ValueError("a set in it holds more than texts and numbers")
    return set(items)


def _bytes(text: Any = "", encoding: Any = "latin1") -> bytes:
    """How pickles of protocol 2 write bytes: as text to be encoded."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in it are not encoded as pickles do it")
    return text.encode("latin1")


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    if not are_sizes(sizes):
        raise ValueError("a torch.Size in it is made of something else than sizes")
    return tuple(sizes)


def _device(kind: Any, index: Any = None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise ValueError("a torch.device in it is none")
    return str(kind) if index is None else f"{kind}:{index}"


STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": BFLOAT16,
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
}
DTYPES = (*STORAGES.values(), "uint16", "uint32", "uint64")

NAMES: dict[str, Any] = {
    "collections OrderedDict": _ordered_dict,
    "__builtin__ set": _set,
    "builtins set": _set,
    "__builtin__ bytes": _bytes,
    "_codecs encode": _bytes,
    "torch Size": _size,
    "torch device": _device,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils _rebuild_parameter": _parameter,
    "torch.storage UntypedStorage": Kind("uint8"),
    **{f"torch {name}Storage": Kind(kind) for name, kind in STORAGES.items()},
    **{f"torch.cuda {name}Storage": Kind(kind) for name, kind in STORAGES.items()},
    **{f"torch {kind}": dtype_in_memory(kind) for kind in DTYPES},
}
