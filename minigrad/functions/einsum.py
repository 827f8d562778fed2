"""Einstein summation, composed of matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import as_arrays
from minigrad.ops.index import getitem
from minigrad.ops.linalg import matmul
from minigrad.ops.reduce import sum
from minigrad.ops.shape import Shape, reshape, transpose
from minigrad.tape import TensorBase, array_of


def einsum(equation: str, *operands: Any) -> Any:
    """Sum of products over named axes, from left to right, as matrix products.

    Example: ``einsum("nij,njk->nik", a, b)``.  Without ``->`` the result has the axes
    that occur once, in alphabetical order.

    Raises:
        ValueError: the equation does not fit the operands.
    """
    arrays = as_arrays([array_of(x) for x in operands], numbers=True)
    operands = tuple(
        x if isinstance(x, TensorBase) else array
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
