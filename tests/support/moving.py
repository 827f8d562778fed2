"""The kinds of operations that move elements: shapes, slices, ids, joins and splits.

Each adds one operation on a value to a draft, if it fits there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.support.draft import Choices, Draft, size_of
from tests.support.program import Shape


def reshape(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    size = size_of(shape)
    forms = [(size,), (1, *shape), shape[::-1]]
    forms += [(n, size // n) for n in (2, 3) if size % n == 0]
    chosen = pick.of(forms)
    return draft.simple("reshape", x, {"shape": chosen}, draft.bounds[x], pick)


def transpose(draft: Draft, x: int, pick: Choices) -> bool:
    remaining = list(range(len(draft.shapes[x])))
    axes = None
    if pick.below(3):
        order = [remaining.pop(pick.below(len(remaining))) for _ in draft.shapes[x]]
        negative = pick.below(2) * len(order)
        axes = tuple(axis - negative for axis in order)
    return draft.simple("transpose", x, {"axes": axes}, draft.bounds[x], pick)


def swapaxes(draft: Draft, x: int, pick: Choices) -> bool:
    ndim = len(draft.shapes[x])
    if ndim < 2:
        return False
    settings = {"axis1": pick.below(ndim), "axis2": pick.below(ndim) - ndim}
    return draft.simple("swapaxes", x, settings, draft.bounds[x], pick)


def expand_dims(draft: Draft, x: int, pick: Choices) -> bool:
    ndim = len(draft.shapes[x])
    axis: Any = pick.below(2 * ndim + 2) - ndim - 1
    axis = (0, ndim + 1) if pick.below(5) == 1 else axis
    return draft.simple("expand_dims", x, {"axis": axis}, draft.bounds[x], pick)


def squeeze(draft: Draft, x: int, pick: Choices) -> bool:
    ones = [i for i, n in enumerate(draft.shapes[x]) if n == 1]
    axis = pick.of([None, tuple(ones), *ones])
    return draft.simple("squeeze", x, {"axis": axis}, draft.bounds[x], pick)


def flip(draft: Draft, x: int, pick: Choices) -> bool:
    axis = pick.axes(len(draft.shapes[x]))
    return draft.simple("flip", x, {"axis": axis}, draft.bounds[x], pick)


def broadcast_to(draft: Draft, x: int, pick: Choices) -> bool:
    shape = tuple(n if n != 1 else pick.of([3, 1, 2]) for n in draft.shapes[x])
    shape = (*pick.of([(), (2,), (1, 2)]), *shape)
    return draft.simple("broadcast_to", x, {"shape": shape}, draft.bounds[x], pick)


def pad(draft: Draft, x: int, pick: Choices) -> bool:
    widths = tuple((pick.below(2), pick.below(3)) for _ in draft.shapes[x])
    if not widths:
        return False
    value = pick.of([0.0, 0.5])
    low, high = draft.bounds[x]
    bounds = (min(low, value), max(high, value))
    settings = {"widths": widths, "value": value}
    return draft.simple("pad", x, settings, bounds, pick)


def crop(draft: Draft, x: int, pick: Choices) -> bool:
    parts = [_part(n, pick) for n in draft.shapes[x]]
    if pick.below(4) == 1:
        parts.insert(pick.below(len(parts) + 1), "None")
    while parts and parts[-1] == ":" and pick.below(2):
        parts.pop()  # what follows is whole
    if pick.below(4) == 1:
        parts.append("...")
    if not parts:
        return False
    return _indexed(draft, "crop", x, parts, pick)


def _part(size: int, pick: Choices) -> str:
    """What is cut from one axis, as it is written."""
    form = pick.below(6)
    if form == 1 and size:
        return str(pick.below(2 * size) - size)
    if form == 2:
        return f"{pick.below(size + 1)}:"
    if form == 3:
        return f":{pick.below(size + 1) - size or ''}"
    if form == 4:
        return f"{pick.of(['', 1])}::{pick.of([2, 3])}"
    if form == 5:
        return f"::{pick.of([-1, -2])}"
    return ":"


def _indexed(
    draft: Draft, kind: str, x: int, parts: Sequence[str], pick: Choices
) -> bool:
    """Add a step that is written ``x[parts]``."""
    written = ", ".join(parts)
    key = eval(f"np.s_[{written}]", {"np": np})
    text = f"{{0}}[{written}]"
    return draft.put(kind, text, [x], {"index": key}, draft.bounds[x], pick)


def gather(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape or 0 in shape:
        return False
    form = pick.below(4)
    count = 1 + pick.below(4)
    if form == 1:
        mask = [bool(pick.below(2)) for _ in range(shape[0])]
        return _indexed(draft, "gather", x, [str(mask)], pick)
    ids = [[pick.below(2 * n) - n for _ in range(count)] for n in shape]
    if form == 2:
        return _indexed(draft, "gather", x, [str(i) for i in ids], pick)
    if form == 3 and len(shape) > 1:
        return _indexed(draft, "gather", x, ["::-1", str(ids[1])], pick)
    return _indexed(draft, "gather", x, [str(ids[0])], pick)


def take(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape or 0 in shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    n = shape[axis]
    ids = [[pick.below(n) for _ in range(2)] for _ in range(1 + pick.below(2))]
    settings = {"indices": ids, "axis": axis}
    text = f"mg.take({{0}}, {ids}, axis={axis})"
    return draft.put("take", text, [x], settings, draft.bounds[x], pick)


def scatter_add(draft: Draft, x: int, pick: Choices) -> bool:
    shape, (low, high) = draft.shapes[x], draft.bounds[x]
    if not shape:
        return False
    size = 1 + pick.below(3)
    n = shape[0]
    ids = [pick.below(size) for _ in range(n)]
    bounds = (n * min(low, 0), n * max(high, 0))
    text = f"mg.scatter_add({{0}}, {ids}, {size})"
    settings = {"ids": ids, "size": size}
    return draft.put("scatter_add", text, [x], settings, bounds, pick)


def concatenate(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    same = axis % len(shape)

    def fits(other: Shape) -> bool:
        rest = [n for i, n in enumerate(shape) if i != same]
        return len(other) == len(shape) and rest == [
            n for i, n in enumerate(other) if i != same
        ]

    return _joined(draft, "concatenate", x, fits, axis, pick)


def stack(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    axis = pick.below(2 * len(shape) + 2) - len(shape) - 1
    return _joined(draft, "stack", x, lambda other: other == shape, axis, pick)


def _joined(
    draft: Draft,
    kind: str,
    x: int,
    fits: Callable[[Shape], bool],
    axis: int,
    pick: Choices,
) -> bool:
    others = [draft.partner(x, fits, pick) for _ in range(pick.below(3))]
    operands = [x, *others]
    names = ", ".join(f"{{{i}}}" for i in range(len(operands)))
    bounds = [draft.bounds[i] for i in operands]
    whole = (min(low for low, _ in bounds), max(high for _, high in bounds))
    text = f"mg.{kind}([{names}], axis={axis})"
    return draft.put(kind, text, operands, {"axis": axis}, whole, pick)


def split(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    first = pick.below(shape[axis] + 1)
    rest = shape[axis] - first
    sizes = pick.of([(first, rest), (first, 0, rest), (shape[axis],)])
    settings = {"sizes": sizes, "axis": axis}
    return draft.simple("split", x, settings, draft.bounds[x], pick)


def unstack(draft: Draft, x: int, pick: Choices) -> bool:
    shape = draft.shapes[x]
    if not shape or 0 in shape:
        return False
    axis = pick.below(2 * len(shape)) - len(shape)
    return draft.simple("unstack", x, {"axis": axis}, draft.bounds[x], pick)


KINDS = (
    *(reshape, transpose, swapaxes, expand_dims, squeeze, flip, broadcast_to),
    *(pad, crop, crop, gather, take, scatter_add),
    *(concatenate, stack, split, unstack),
)
