"""Which samples does PyTorch's OpInfo have, and what does each side make of one?

A sample is computed by both sides with the same numbers: values, and the gradients of
every operand that requires them, for cotangents that are drawn. What a side computes is
a dictionary of NumPy arrays by what they are, such as "value 0" and "gradient 1".
"""

from __future__ import annotations

import inspect
import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import minigrad as mg
from tests.interop.opinfo.functions import (
    ELEMENTWISE,
    FUNCTIONS,
    MADE,
    WHOLE_NUMBERS,
    NotOffered,
)

torch.set_num_threads(1)

Results = dict[str, np.ndarray]

FLOATS = ("float64", "float32", "float16")
DTYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FUNCTIONS, FLOATS),
    **dict.fromkeys(WHOLE_NUMBERS, ("bool", "uint8", "int64")),
    "logical_and": ("bool",),
    "logical_not": ("bool",),
    "logical_or": ("bool",),
    "nn.functional.one_hot": ("int64",),
}


class Sample(NamedTuple):
    """The same computation on both sides; `theirs` can also be made in float64."""

    theirs: Callable[[bool], Results]
    ours: Callable[[], Results]
    elementwise: bool = False  # nothing cancels: small numbers are right, too


def seed_all(name: str) -> None:
    """Draw the same numbers in every run, whatever else is run."""
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002, what OpInfo draws from
    torch.manual_seed(seed)


# -- functions ---------------------------------------------------------------------

OPS = {op.full_name: op for op in op_db}


def samples_of(name: str, dtype: str) -> Iterator[Sample]:
    """The samples of one operator, in PyTorch's order; none where it lacks the dtype.

    Its reference inputs, where it has any that carry gradients: they add memory that
    is not contiguous, extreme and special numbers.
    """
    op, kind = OPS[name], getattr(torch, dtype)
    if kind not in op.supported_dtypes("cpu"):
        return
    wanted = kind.is_floating_point and op.supports_autograd
    seed_all(f"{name} {dtype}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            inputs = list(op.reference_inputs("cpu", kind, requires_grad=wanted))
        except ValueError:  # an operand that cannot carry gradients is asked to
            seed_all(f"{name} {dtype}")
            inputs = list(op.sample_inputs("cpu", kind, requires_grad=wanted))
    for number, given in enumerate(inputs):
        key = f"{name} {dtype} {number}"
        arguments = ([given.input, *given.args], given.kwargs)
        yield Sample(
            lambda wide, a=arguments, k=key: theirs(op, *a, k, wide),
            lambda a=arguments, k=key: ours(FUNCTIONS[name], *a, k),
            name in ELEMENTWISE,
        )


def each_tensor(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same structure, every tensor of it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple
        return kind(each_tensor(part, change) for part in value)
    if isinstance(value, dict):
        return {k: each_tensor(part, change) for k, part in value.items()}
    return value


def leaves_of(value: Any) -> list[torch.Tensor]:
    """The tensors that carry gradients, each once, in order."""
    found: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> None:
        if tensor.requires_grad:
            found[id(tensor)] = tensor

    each_tensor(value, note)
    return list(found.values())


def fresh(
    tensor: torch.Tensor, known: dict[int, torch.Tensor], wide: bool
) -> torch.Tensor:
    """A leaf of the same numbers, in float64 if they shall be wide.

    Some samples are views whose base was written to later: PyTorch then takes them for
    results, to which no gradient comes.
    """
    if id(tensor) not in known:
        leaf = tensor.detach()
        leaf = leaf.double() if wide and leaf.is_floating_point() else leaf
        known[id(tensor)] = leaf.requires_grad_(tensor.requires_grad)
    return known[id(tensor)]


def cotangent(key: str, index: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Numbers from -1 to 1, drawn for one output of one sample."""
    draw = np.random.default_rng(zlib.crc32(f"{key} cotangent {index}".encode()))
    return np.asarray(draw.uniform(-1, 1, shape), np.float16).astype(dtype)


def theirs(op: Any, args: list[Any], settings: Any, key: str, wide: bool) -> Results:
    """What PyTorch computes for a sample."""
    known: dict[int, torch.Tensor] = {}
    args, settings = each_tensor((args, settings), lambda x: fresh(x, known, wide))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = op(*args, **settings)
        return their_results(outputs, leaves_of((args, settings)), key)


def their_results(outputs: Any, leaves: list[torch.Tensor], key: str) -> Results:
    """Values and gradients of what PyTorch computed."""
    flat: list[torch.Tensor] = []
    each_tensor(outputs, flat.append)
    results = {f"value {i}": y.detach().numpy().copy() for i, y in enumerate(flat)}
    live = [(i, y) for i, y in enumerate(flat) if y.requires_grad]
    if not live or not leaves:
        return results
    seeds = [
        torch.from_numpy(cotangent(key, i, tuple(y.shape), y.detach().numpy().dtype))
        for i, y in live
    ]
    found = torch.autograd.grad([y for _, y in live], leaves, seeds, allow_unused=True)
    for i, (leaf, gradient) in enumerate(zip(leaves, found, strict=True)):
        gradient = torch.zeros_like(leaf) if gradient is None else gradient
        results[f"gradient {i}"] = gradient.detach().numpy().copy()
    return results


# -- our side ----------------------------------------------------------------------

# Where a tensor lies is no question of values, nor is who owns its memory.
LEFT_OUT = {"device", "layout", "pin_memory", "requires_grad", "memory_format"}


def carried(tensor: torch.Tensor, known: dict[int, mg.Tensor]) -> mg.Tensor:
    """One of their tensors as ours, in the same memory layout."""
    if id(tensor) not in known:
        if tensor.is_complex():
            raise NotOffered("complex numbers")
        if tensor.dtype is torch.bfloat16:
            raise NotOffered("bfloat16")
        array = tensor.detach().numpy()
        known[id(tensor)] = mg.asarray(array)
        known[id(tensor)].requires_grad = tensor.requires_grad
    return known[id(tensor)]


def plain(value: Any) -> Any:
    """A setting as ours: dtypes are NumPy's, sizes tuples."""
    if isinstance(value, torch.dtype):
        name = str(value).removeprefix("torch.")
        if name in ("bfloat16", "complex64", "complex128", "complex32"):
            raise NotOffered(f"dtype {name}")
        return np.dtype(name)
    if isinstance(value, complex):
        raise NotOffered("complex numbers")
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple
        return kind(plain(part) for part in value)
    return value


def bound(adapter: Callable[..., Any], args: list[Any], settings: Any) -> Any:
    """The arguments, if the adapter takes them all."""
    settings = {
        name: plain(value)
        for name, value in settings.items()
        if name not in LEFT_OUT and value is not None
    }
    try:
        return inspect.signature(adapter).bind(*map(plain, args), **settings)
    except TypeError as error:
        raise NotOffered(str(error)) from error


def ours(adapter: Callable[..., Any], args: Any, settings: Any, key: str) -> Results:
    """What we compute for a sample."""
    known: dict[int, mg.Tensor] = {}
    leaves = leaves_of((args, settings))
    args, settings = each_tensor((args, settings), lambda x: carried(x, known))
    if not known and adapter not in MADE.values():
        raise NotOffered("an operation on numbers alone")
    call = bound(adapter, args, settings)
    outputs = adapter(*call.args, **call.kwargs)
    return our_results(outputs, [known[id(leaf)] for leaf in leaves], key)


def our_results(outputs: Any, leaves: list[mg.Tensor], key: str) -> Results:
    """Values and gradients of what we computed."""
    flat = flat_tensors(outputs)
    results = {f"value {i}": np.array(y.numpy()) for i, y in enumerate(flat)}
    live = [(i, y) for i, y in enumerate(flat) if y.requires_grad]
    if not live:
        return results
    for i, y in live:
        seed = cotangent(key, i, y.shape, y.dtype)
        y.backward(seed, retain_graph=True)
    for i, leaf in enumerate(leaves):
        gradient = leaf.grad
        array = np.zeros(leaf.shape, leaf.dtype) if gradient is None else gradient
        results[f"gradient {i}"] = np.array(
            array.numpy() if isinstance(array, mg.Tensor) else array
        )
    return results


def flat_tensors(outputs: Any) -> list[mg.Tensor]:
    """All tensors of an output, in order."""
    if isinstance(outputs, mg.Tensor):
        return [outputs]
    return [tensor for part in outputs for tensor in flat_tensors(part)]
