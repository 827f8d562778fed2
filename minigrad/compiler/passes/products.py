"""Sums of matrix products: one product of the joined factors instead of many.

A weight that is used in T time steps has the gradient A_1.T @ G_1 + ... + A_T.T @ G_T,
which is A.T @ G with all A_t below one another, and all G_t. One large product takes
about half the time of T small ones and their additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.program import Instruction, Operand, Program, Value
from minigrad.ops.elementwise import add
from minigrad.ops.linalg import matmul
from minigrad.ops.shape import concatenate, swapaxes

ADD = add.primitive
MATMUL = matmul.primitive
SWAPAXES = swapaxes.primitive
CONCATENATE = concatenate.primitive


class Product(NamedTuple):
    """A term left.T @ right of a sum."""

    left: int
    right: int


def join_products(program: Program) -> Program:
    """Let the products of one sum become one; what else the sum adds is added to it."""
    sums = Sums(program)
    body: list[Instruction] = []
    for instruction in program.body:
        if id(instruction) in sums.inner:
            continue
        terms = sums.terms_of(instruction)
        products = [term for term in terms if isinstance(term, Product)]
        if len(products) > 1 and _joinable(program, products):
            body += _joined(program, instruction, products, terms)
        else:
            body.append(instruction)
    return program.with_body(body)


class Sums:
    """The trees of additions in a program whose inner sums nobody else reads."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.made_by = {n: i for i in program.body for n in i.gives}
        self.uses = Counter(n for i in program.body for n in i.reads)
        self.uses.update(program.outputs)
        self.inner: set[int] = set()
        for instruction in program.body:
            if instruction.primitive is ADD and not self._is_inner(instruction):
                terms = list(self._flatten(instruction))
                if sum(isinstance(term, Product) for term in terms) > 1:
                    self._mark(instruction)
        self.inner -= {id(i) for i in program.body if not self._is_inner(i)}

    def terms_of(self, instruction: Instruction) -> list[Operand | Product]:
        """What is added up, where this is the last addition of a sum of products."""
        return list(self._flatten(instruction)) if instruction.primitive is ADD else []

    def _is_inner(self, instruction: Instruction) -> bool:
        """Whether an instruction's result is read by one addition alone."""
        (result,) = instruction.results[:1] or (None,)
        reader = self._only_reader.get(result)
        return reader is not None and reader.primitive is ADD

    @property
    def _only_reader(self) -> dict[int | None, Instruction]:
        if not hasattr(self, "_readers"):
            self._readers: dict[int | None, Instruction] = {
                n: i for i in self.program.body for n in i.reads if self.uses[n] == 1
            }
        return self._readers

    def _flatten(self, instruction: Instruction) -> Iterator[Operand | Product]:
        waiting: list[Any] = list(reversed(instruction.operands))
        shape = self.program.values[instruction.gives[0]].shape
        while waiting:
            x = waiting.pop()
            maker = self.made_by.get(x) if isinstance(x, int) else None
            if maker is None or self.uses[x] != 1:
                yield x
            elif maker.primitive is ADD and self.program.values[x].shape == shape:
                waiting += reversed(maker.operands)
            else:
                yield self._product(maker) or x

    def _product(self, maker: Instruction) -> Product | None:
        """The term that an instruction makes, if it is one."""
        if maker.primitive is not MATMUL:
            return None
        left, right = maker.operands
        turned = self.made_by.get(left) if isinstance(left, int) else None
        if turned is None or turned.primitive is not SWAPAXES:
            return None
        inner = turned.operands[0]
        if not isinstance(inner, int) or not isinstance(right, int):
            return None
        flat = all(len(self.program.values[x].shape) == 2 for x in (inner, right))
        return Product(inner, right) if flat else None

    def _mark(self, instruction: Instruction) -> None:
        """Note what the joined product replaces: inner additions and the products."""
        waiting = [instruction]
        while waiting:
            for x in waiting.pop().reads:
                maker = self.made_by.get(x)
                if maker is None or self.uses[x] != 1:
                    continue
                if maker.primitive is ADD:
                    waiting.append(maker)
                if maker.primitive is ADD or self._product(maker):
                    self.inner.add(id(maker))


def _joinable(program: Program, products: list[Product]) -> bool:
    values = program.values
    kinds = {
        (values[p.left].shape[1], values[p.right].shape[1], values[p.left].dtype)
        for p in products
    }
    dtypes = {values[p.right].dtype for p in products}
    return len(kinds) == 1 and dtypes == {next(iter(kinds))[2]}


def _joined(
    program: Program,
    last: Instruction,
    products: list[Product],
    terms: list[Operand | Product],
) -> Iterator[Instruction]:
    """The joined product and the other additions, ending in the sum's own value."""
    products = sorted(products)  # as the forward made the factors
    others = [term for term in terms if not isinstance(term, Product)]
    left = yield from _concatenated(program, [p.left for p in products])
    right = yield from _concatenated(program, [p.right for p in products])
    turned = _transposed(program.values[left])
    flipped = program.add_value(turned)
    settings = {"axis1": -1, "axis2": -2}
    yield Instruction(SWAPAXES, (left,), settings, (flipped,), (left,), last.line)
    value = program.values[last.gives[0]]
    total = last.gives[0] if not others else program.add_value(value)
    yield Instruction(MATMUL, (flipped, right), {}, (total,), (None,), last.line)
    for i, other in enumerate(others):
        final = i == len(others) - 1
        result = last.gives[0] if final else program.add_value(value)
        yield Instruction(ADD, (total, other), {}, (result,), (None,), last.line)
        total = result


def _concatenated(program: Program, parts: list[int]) -> Any:
    values = [program.values[part] for part in parts]
    rows = sum(value.shape[0] for value in values)
    width, dtype = values[0].shape[1], values[0].dtype
    whole = program.add_value(contiguous((rows, width), dtype))
    yield Instruction(
        CONCATENATE, tuple(parts), {"axis": 0}, (whole, None), (None, None)
    )
    return whole


def contiguous(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Value:
    """What is known of a new array in row-major order."""
    strides = [dtype.itemsize]
    for length in reversed(shape[1:]):
        strides.append(strides[-1] * length)
    return Value(shape, dtype, tuple(reversed(strides[: len(shape)])))


def _transposed(value: Value) -> Value:
    strides = None if value.strides is None else value.strides[::-1]
    return Value(value.shape[::-1], value.dtype, strides)
