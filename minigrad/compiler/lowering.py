"""Lowering: the primitives that can write their result into memory that is there.

A lowering gives the lines that do it, from the expressions of the operands and of the
result's array. Each computes what the forward computes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.program import Instruction, Program, Value, primitive_of
from minigrad.ops import elementwise, linalg, shape
from minigrad.tape import Primitive

Lines = list[str]
Name = Callable[[str, Any], str]  # gives an object a name in the program's text


class Lowering(NamedTuple):
    """How a call is written, and whether its result may replace an operand."""

    lines: Callable[[Name, list[str], str], Lines]
    in_place: bool = True
    fits: Callable[[Program, Instruction], bool] = lambda program, instruction: True


def _ufunc(function: Any) -> Lowering:
    def lines(name: Name, operands: list[str], out: str) -> Lines:
        return [f"{name('np_', function)}({', '.join([*operands, f'out={out}'])})"]

    return Lowering(lines)


def _relu(name: Name, operands: list[str], out: str) -> Lines:
    return [f"{name('np_', np.maximum)}({operands[0]}, 0, out={out})"]


def _exp_difference(name: Name, operands: list[str], out: str) -> Lines:
    subtract, exp = name("np_", np.subtract), name("np_", np.exp)
    return [f"{subtract}({', '.join(operands)}, {out})", f"{exp}({out}, {out})"]


def _gate(name: Name, operands: list[str], out: str) -> Lines:
    multiply, add = name("np_", np.multiply), name("np_", np.add)
    return [
        f"{multiply}({operands[0]}, 0.5, {out})",
        f"{name('np_', np.tanh)}({out}, {out})",
        f"{multiply}({out}, 0.5, {out})",
        f"{add}({out}, 0.5, {out})",
    ]


def _masked(name: Name, operands: list[str], out: str) -> Lines:
    a, mask = operands
    return [f"{name('keep', elementwise.keep_where)}({mask}, {a}, {out})"]


def _is_floating(program: Program, instruction: Instruction) -> bool:
    return program.values[instruction.gives[0]].dtype.kind == "f"


def _matmul(name: Name, operands: list[str], out: str) -> Lines:
    return [f"{name('matmul', matmul_into)}({', '.join([*operands, out])})"]


def matmul_into(a: Any, b: Any, out: Any) -> None:
    """The product as `mg.matmul` takes it: that of a batch by a matrix is one."""
    if a.ndim > b.ndim == 2 and a.size:
        a, out = (x.reshape(-1, x.shape[-1]) for x in (a, out))
    np.matmul(a, b, out)


def _is_plain_product(program: Program, instruction: Instruction) -> bool:
    """Whether the forward of matmul turns no operand round."""
    if not all(isinstance(x, int) for x in instruction.operands):
        return False
    a, b = (program.values[x] for x in instruction.reads)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return False
    turned = len(a.shape) == len(b.shape) == 2 and a.shape[0] < b.shape[1]
    return not (turned and _is_transposed(b))


def _is_transposed(b: Value) -> bool:
    rows, columns = b.shape
    one = b.dtype.itemsize
    return b.strides == (one, one * rows) and rows > 1 and columns > 1


UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negative": np.negative,
    "absolute": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_not": np.logical_not,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
}

LOWERINGS: dict[Primitive, Lowering] = {
    **{
        primitive_of(getattr(elementwise, name)): _ufunc(function)
        for name, function in UFUNCS.items()
    },
    primitive_of(elementwise.relu): Lowering(_relu),
    primitive_of(elementwise.exp_difference): Lowering(
        _exp_difference, fits=_is_floating
    ),
    primitive_of(elementwise.gate): Lowering(_gate),
    primitive_of(elementwise.masked): Lowering(_masked),
    primitive_of(linalg.matmul): Lowering(
        _matmul, in_place=False, fits=_is_plain_product
    ),
}

CONCATENATE = primitive_of(shape.concatenate)
STACK = primitive_of(shape.stack)


def lowering_of(program: Program, instruction: Instruction) -> Lowering | None:
    """How an instruction writes into memory that is there, if it can."""
    found = LOWERINGS.get(instruction.primitive)
    if found is None or not is_new_array(program, instruction):
        return None
    return found if found.fits(program, instruction) else None


def is_join(program: Program, instruction: Instruction) -> bool:
    """Whether an instruction puts arrays of one dtype side by side in a new one."""
    if instruction.primitive not in (CONCATENATE, STACK):
        return False
    if not is_new_array(program, instruction):
        return False
    dtypes = {program.values[x].dtype for x in instruction.reads}
    return dtypes == {program.values[instruction.gives[0]].dtype} and all(
        isinstance(x, int) for x in instruction.operands
    )


def is_new_array(program: Program, instruction: Instruction) -> bool:
    """Whether the one result is a new NumPy array in row-major order."""
    if len(instruction.gives) != 1 or instruction.results[0] is None:
        return False
    value = program.values[instruction.gives[0]]
    shared = any(x is not None for x in instruction.shares)
    return not shared and value.strides is not None and is_contiguous(value)


def is_contiguous(value: Value) -> bool:
    """Whether a value has axes, elements, and row-major order."""
    if not value.shape or value.nbytes == 0 or value.strides is None:
        return False
    strides = value.strides or ()
    expected = value.dtype.itemsize
    for length, stride in zip(value.shape[::-1], strides[::-1], strict=False):
        if stride != expected and length != 1:
            return False
        expected *= length
    return True


def part_of(join: Instruction, whole: Any, sizes: list[int], i: int) -> Any:
    """The part of a joined array where operand `i` lies. Shapes: as the operand."""
    axis = join.settings.get("axis", 0)
    if join.primitive is STACK:
        return np.moveaxis(whole, axis, 0)[i, ...]
    before = (slice(None),) * (axis % whole.ndim)
    start = sum(sizes[:i])
    return whole[(*before, slice(start, start + sizes[i]))]
