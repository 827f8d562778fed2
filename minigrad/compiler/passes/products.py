"""Sums of matrix products: one product of the joined factors instead of many.

A weight that is used in T time steps has the gradient A_1.T @ G_1 + ... + A_T.T @ G_T,
which is A.T @ G with all A_t below one another, and all G_t. One large product takes
about half the time of T small ones and their additions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.program import (
    Instruction,
    Operand,
    Program,
    Uses,
    Value,
    primitive_of,
)
from minigrad.ops.elementwise import add
from minigrad.ops.linalg import matmul
from minigrad.ops.shape import concatenate, swapaxes

ADD = primitive_of(add)
MATMUL = primitive_of(matmul)
SWAPAXES = primitive_of(swapaxes)
CONCATENATE = primitive_of(concatenate)


class Product(NamedTuple):
    """A term left.T @ right of a sum."""

    left: int
    right: int


Term = Operand | Product


def join_products(program: Program) -> Program:
    """Let the products of one sum become one; what else the sum adds is added to it."""
    uses = Uses(program)
    places = {n: place for place, i in enumerate(program.body) for n in i.gives}
    writes = [place for place, i in enumerate(program.body) if i.written]
    joined: dict[int, list[Term]] = {}  # by the number of a sum
    replaced: set[int] = set()  # the sums within, and the products
    for instruction in reversed(program.body):
        result = next(iter(instruction.gives), None)
        if instruction.primitive is not ADD or result is None or result in replaced:
            continue
        terms, inner = _terms_of(uses, instruction)
        products = [term for term in terms if isinstance(term, Product)]
        first = min((places[n] for n in inner), default=0)
        # What is written in between could be a factor.
        moves = not any(first < place < places[result] for place in writes)
        if moves and _joinable(program, products):
            joined[result] = terms
            replaced |= inner
    body: list[Instruction] = []
    for instruction in program.body:
        if replaced.isdisjoint(instruction.gives):
            terms = joined.get(next(iter(instruction.gives), -1), [])
            body += _sum_of(program, instruction, terms) if terms else [instruction]
    return program.with_body(body)


def _terms_of(uses: Uses, last: Instruction) -> tuple[list[Term], set[int]]:
    """What a tree of additions adds up, and the values within that would go."""
    terms: list[Term] = []
    inner: set[int] = set()
    waiting: list[Operand] = list(reversed(last.operands))
    shape = uses.program.values[last.gives[0]].shape
    while waiting:
        x = waiting.pop()
        maker = uses.only_maker(x)
        product = None if maker is None else _product(uses, maker)
        if maker is not None and maker.primitive is ADD and _shape(uses, x) == shape:
            waiting += reversed(maker.operands)
            inner.update(maker.gives)
        elif maker is not None and product is not None:
            terms.append(product)
            inner.update(maker.gives)
        else:
            terms.append(x)
    return terms, inner


def _shape(uses: Uses, x: Operand) -> tuple[int, ...] | None:
    return uses.program.values[x].shape if isinstance(x, int) else None


def _product(uses: Uses, maker: Instruction) -> Product | None:
    """The term that an instruction makes, if it is one."""
    if maker.primitive is not MATMUL:
        return None
    left, right = maker.operands
    turned = uses.made_by.get(left) if isinstance(left, int) else None
    if turned is None or turned.primitive is not SWAPAXES:
        return None
    inner = turned.operands[0]
    shapes = (_shape(uses, inner) or (), _shape(uses, right) or ())
    if not (isinstance(inner, int) and isinstance(right, int)):
        return None
    return Product(inner, right) if all(len(shape) == 2 for shape in shapes) else None


def _joinable(program: Program, products: list[Product]) -> bool:
    """Whether there are several products, and their factors can be put together."""
    if len(products) < 2:
        return False
    values = program.values
    kinds = {
        (values[p.left].shape[1], values[p.right].shape[1], values[p.left].dtype)
        for p in products
    }
    dtypes = {values[p.right].dtype for p in products}
    return len(kinds) == 1 and dtypes == {next(iter(kinds))[2]}


def _sum_of(
    program: Program, last: Instruction, terms: list[Term]
) -> Iterator[Instruction]:
    """The joined product and the other additions, ending in the sum's own value."""
    # In the order in which the forward made the factors.
    products = sorted(term for term in terms if isinstance(term, Product))
    others = [term for term in terms if not isinstance(term, Product)]
    left, right = (
        program.add_value(_below_one_another(program, factors))
        for factors in zip(*products, strict=True)
    )
    for whole, factors in zip((left, right), zip(*products, strict=True), strict=True):
        yield Instruction(CONCATENATE, factors, {"axis": 0}, (whole,), (None,))
    flipped = program.add_value(_transposed(program.values[left]))
    yield Instruction(
        SWAPAXES, (left,), {"axis1": -1, "axis2": -2}, (flipped,), (left,)
    )
    value = program.values[last.gives[0]]
    sums = [*(program.add_value(value) for _ in others), last.gives[0]]
    yield Instruction(MATMUL, (flipped, right), {}, (sums[0],), (None,), last.line)
    for other, before, after in zip(others, sums, sums[1:], strict=False):
        yield Instruction(ADD, (before, other), {}, (after,), (None,), last.line)


def _below_one_another(program: Program, parts: Sequence[int]) -> Value:
    values = [program.values[part] for part in parts]
    rows = sum(value.shape[0] for value in values)
    whole = contiguous((rows, values[0].shape[1]), values[0].dtype)
    return whole if values[0].strides is not None else whole._replace(strides=None)


def contiguous(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Value:
    """What is known of a new array in row-major order."""
    strides = [dtype.itemsize]
    for length in reversed(shape[1:]):
        strides.append(strides[-1] * length)
    return Value(shape, dtype, tuple(reversed(strides[: len(shape)])))


def _transposed(value: Value) -> Value:
    strides = None if value.strides is None else value.strides[::-1]
    return Value(value.shape[::-1], value.dtype, strides)
