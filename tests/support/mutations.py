"""Wrong rules for every primitive, each of which the checker must refuse.

A mutation breaks a primitive in one way; the checker then runs on the primitive's own
cases. `python -m tests.support.mutations` prints the table of primitives and mutations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad import backend
from minigrad.ops.elementwise import where
from minigrad.ops.index import getitem
from minigrad.ops.linalg import matmul
from minigrad.ops.reduce import cumsum
from minigrad.ops.shape import (
    broadcast_to,
    concatenate,
    split,
    stack,
    to_index,
    transpose,
    unstack,
)
from minigrad.tape import Primitive
from minigrad.tensor import Tensor
from minigrad.testing.blame import GradientError
from minigrad.testing.checker import (
    SPECIAL_EXAMPLES,
    check_at_points,
    check_function,
)
from minigrad.testing.function import Function
from minigrad.testing.strategies import hypothesis, primitive_of
from tests.support.cases import OURS, PRIMITIVES, whole_calls_of

Rule = Callable[..., Any]
Changes = dict[str, Any]  # of the arguments that a Primitive is made with
Variant = contextlib.AbstractContextManager[None]


@contextlib.contextmanager
def changed(primitive: Primitive, **changes: Any) -> Iterator[None]:
    """Give a primitive other rules or facts for a while, wherever it is called."""
    call: Any = OURS[primitive.name]
    call.primitive = dataclasses.replace(primitive, **changes)
    try:
        yield
    finally:
        call.primitive = primitive


# -- what is done to a rule's result -----------------------------------------------


def each(change: Callable[[Any], Any], result: Any) -> Any:
    """Change one gradient, or each of a joint rule's."""
    if isinstance(result, list | tuple):
        return [each(change, part) for part in result]
    return None if result is None else change(result)


def with_result(change: Callable[[Any], Any]) -> Callable[[Primitive], list[Variant]]:
    """Break one rule at a time by changing what it returns."""

    def broken(rule: Rule) -> Rule:
        @functools.wraps(rule)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return each(change, rule(*args, **kwargs))

        return wrapped

    return lambda primitive: one_rule_at_a_time(primitive, lambda rule: [broken(rule)])


def one_rule_at_a_time(
    primitive: Primitive, broken: Callable[[Rule], list[Rule]]
) -> list[Variant]:
    """A variant for each broken form of each rule, all other rules as they are."""
    variants: list[Variant] = []
    for i, rule in enumerate(primitive.rules):
        for other in broken(rule) if rule is not None else []:
            rules = (*primitive.rules[:i], other, *primitive.rules[i + 1 :])
            variants.append(changed(primitive, rules=rules))
    if primitive.joint is not None:
        variants += [
            changed(primitive, joint=other) for other in broken(primitive.joint)
        ]
    return variants


# -- what is done at one point alone -----------------------------------------------


Where = Callable[..., Any]  # (operand, the other operand or None) -> where to be wrong


def at_points(
    places: Callable[[Primitive, str], list[Where]], value: float | None = None
) -> Callable[[Primitive], list[Variant]]:
    """Break one rule at a time, at those operands alone that `places` pick.

    There the rule gives `value`, or 1 more than is right.
    """

    def variants(primitive: Primitive) -> list[Variant]:
        if primitive.sequence:
            return []
        return [
            _changed_at(primitive, i, picked, value)
            for i, rule in enumerate(primitive.rules)
            if rule is not None
            for picked in places(primitive, primitive.operand_names[i])
        ]

    return variants


@contextlib.contextmanager
def _changed_at(
    primitive: Primitive, which: int, picked: Where, value: float | None
) -> Iterator[None]:
    rule, names = primitive.rules[which], primitive.operand_names
    plain = [n for n in names if n != primitive.rest_name]
    own, other = names[which], plain[1 - which] if len(plain) == 2 else None
    read = list(inspect.signature(rule).parameters)[1:] if rule else []
    more = [n for n in (own, other) if n and n not in read]

    def broken(g: Any, **kept: Any) -> Any:
        right = rule(g, **{n: kept[n] for n in read})  # type: ignore[misc]
        here = picked(*(_array(kept[n]) for n in (own, other) if n))
        if np.ndim(here) == 0:
            here = broadcast_to(np.asarray(here), shape=right.shape)
        return where(here, right + 1 if value is None else value, right)

    kinds = inspect.Parameter
    broken.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [kinds(n, kinds.POSITIONAL_OR_KEYWORD) for n in ("g", *read, *more)]
    )
    rules = [*primitive.rules[:which], broken, *primitive.rules[which + 1 :]]
    with changed(primitive, rules=rules):
        yield


def _array(value: Any) -> Any:
    return value.array if isinstance(value, Tensor) else value


def is_point(*points: float) -> Callable[[Primitive, str], list[Where]]:
    """At each of these values, if the operand may have it: 0 and -0.0 told apart."""

    def picks(point: float) -> Where:
        sign = np.signbit(point)
        return lambda a, *_: (a == point) & (np.signbit(a) == sign)

    def where_allowed(primitive: Primitive, name: str) -> list[Where]:
        low, high = primitive.domain.get(name, (-np.inf, np.inf))
        kinks = primitive.kinks.get(name, ())
        return [picks(p) for p in points if low < p < high and p not in kinks]

    return where_allowed


def is_tie(primitive: Primitive, name: str) -> list[Where]:
    """Where both operands are equal, unless that is a kink."""
    two = len(primitive.operand_names) == 2 and primitive.unbroadcast is not None
    if (
        not two
        or primitive.name == "matmul"
        or any(map(_names_operand(primitive), primitive.kinks))
    ):
        return []
    return [lambda a, b: np.equal(a, b)]


def _names_operand(primitive: Primitive) -> Callable[[str], bool]:
    return lambda name: any(k in primitive.operand_names for k in primitive.kinks[name])


def is_alike(primitive: Primitive, name: str) -> list[Where]:
    """Where all elements of the operand are equal, unless that is a kink."""
    if name in primitive.kinks.get(name, ()):
        return []
    return [lambda a, *_: np.size(a) > 1 and bool((a == a.reshape(-1)[:1]).all())]


def is_kink(primitive: Primitive, name: str) -> list[Where]:
    """At a kink with a declared derivative: a number, or another operand's value."""
    declared = primitive.kinks.get(name, {})
    picked: list[Where] = []
    for kink, derivative in declared.items():
        if kink == name:
            picked += is_alike(primitive, "")
        elif kink in primitive.operand_names:
            picked.append(lambda a, b: np.equal(a, b))
        elif not isinstance(kink, str) and derivative is not None:
            picked.append(lambda a, *_, at=kink: a == at)
    return picked


def is_end(primitive: Primitive, name: str) -> list[Where]:
    """At an end that belongs to the domain."""
    return [lambda a, *_, at=end: a == at for end in primitive.closed.get(name, ())]


# -- what is done to what a rule reads ---------------------------------------------


def stale(primitive: Primitive) -> list[Variant]:
    """Each value that was kept for a rule comes from another call."""
    kept = {"y", primitive.rest_name, *primitive.operand_names, *primitive.residuals}

    def broken(rule: Rule) -> list[Rule]:
        names = list(inspect.signature(rule).parameters)[1:]
        return [_reading_stale(rule, name) for name in names if name in kept]

    return one_rule_at_a_time(primitive, broken)


def _reading_stale(rule: Rule, name: str) -> Rule:
    signature = inspect.signature(rule)

    @functools.wraps(rule)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.arguments[name] = _other_value(bound.arguments[name])
        return rule(*bound.args, **bound.kwargs)

    return wrapped


def _other_value(value: Any) -> Any:
    """A value of the same kind, such as another call could have left."""
    if isinstance(value, tuple):
        return tuple(map(_other_value, value))
    array = value.array if isinstance(value, Tensor) else value
    if not backend.is_array(array):
        return 0.25 - value
    if array.dtype.kind == "b":
        return np.logical_not(array)
    return array * 0 if array.dtype.kind in "iu" else 0.25 - value


# -- what is done to the shape of things -------------------------------------------


def _first(g: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of one copy of a broadcast operand, the others forgotten."""
    if g.size == 0:
        return broadcast_to(g.sum(), shape=shape)  # there is no copy: the sum is right
    added = g.ndim - len(shape)
    kept = tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)
    return getitem(g, (0,) * added + kept)


def without_sum(primitive: Primitive) -> list[Variant]:
    """The gradient of a broadcast operand is not summed over its copies."""
    if primitive.name == "broadcast_to":
        return [changed(primitive, rules=[lambda g, a_shape: _first(g, a_shape)])]
    broadcasts = primitive.unbroadcast is not None and len(primitive.operand_names) > 1
    return [changed(primitive, unbroadcast=_first)] if broadcasts else []


def not_inverted(primitive: Primitive) -> list[Variant]:
    """What the forward moves, the rule does not move back."""
    return [
        changed(primitive, **changes)
        for changes in NOT_INVERTED.get(primitive.name, [])
    ]


def _count(whole: Any, axis: int, sizes: int | tuple[int, ...] | None = None) -> int:
    """How many items an array is parted into."""
    if sizes is None:
        return whole.shape[axis]
    return sizes if isinstance(sizes, int) else len(sizes)


def _backwards(parting: Rule) -> Rule:
    """Items written into each other's places: the last is swapped with the first."""
    part: Any = primitive_of(parting).part

    @functools.wraps(part)
    def wrapped(whole: Any, i: int, **settings: Any) -> Any:
        return part(whole, _count(whole, **settings) - 1 - i, **settings)

    return wrapped


MATMUL = primitive_of(matmul)

NOT_INVERTED: dict[str, list[Changes]] = {
    "transpose": [{"rules": [lambda g, axes: transpose(g, axes=axes)]}],
    "swapaxes": [{"rules": [lambda g: g]}],
    "flip": [{"rules": [lambda g: g]}],
    "cumsum": [{"rules": [lambda g, axis: cumsum(g, axis=axis)]}],
    "matmul": [
        {"rules": [lambda g, b: matmul(g, b), MATMUL.rules[1]]},
        {"rules": [MATMUL.rules[0], lambda g, a: matmul(a, g)]},
    ],
    "concatenate": [
        {
            "joint": lambda g, shapes, axis: split(
                g, sizes=tuple(s[axis] for s in shapes), axis=axis
            )[::-1]
        }
    ],
    "stack": [{"joint": lambda g, axis: unstack(g, axis=axis)[::-1]}],
    "split": [
        {"joint": lambda gs, axis: (concatenate(gs[::-1], axis=axis),)},
        {"part": _backwards(split)},
    ],
    "unstack": [
        {"joint": lambda gs, axis: (stack(gs[::-1], axis=axis),)},
        {"part": _backwards(unstack)},
    ],
}


# -- what is done to sums ----------------------------------------------------------


def assigned(primitive: Primitive) -> list[Variant]:
    """Assignment where values at the same place must add up."""
    if primitive.name in ("gather", "scatter_add"):
        return [_add_at_assigns()]
    return (
        [changed(primitive, scatter={"a": _assign})] if primitive.name == "crop" else []
    )


@contextlib.contextmanager
def _add_at_assigns() -> Iterator[None]:
    known = backend.add_at
    backend.add_at = lambda total, index, values: total.__setitem__(index, values)
    try:
        yield
    finally:
        backend.add_at = known


def _assign(whole: Any, g: Any, index: Any) -> None:
    whole[to_index(index)] = g


def lost(primitive: Primitive) -> list[Variant]:
    """What is added in place, or deferred, is nothing."""
    return [
        changed(primitive, **{fact: {name: _adding_nothing(rule)}})
        for fact in ("scatter", "factors")
        for name, rule in getattr(primitive, fact).items()
    ]


def _adding_nothing(rule: Rule) -> Rule:
    names = list(inspect.signature(rule).parameters)
    g = names.index("g")

    @functools.wraps(rule)
    def wrapped(*given: Any) -> Any:
        return rule(*given[:g], given[g] * 0, *given[g + 1 :])

    return wrapped


# -- the table ---------------------------------------------------------------------


class Mutation(NamedTuple):
    """One way to be wrong, and the broken forms that it gives a primitive."""

    name: str
    variants: Callable[[Primitive], list[Variant]]


MUTATIONS = (
    Mutation("zero", with_result(lambda g: g * 0.0)),
    Mutation("sign", with_result(lambda g: -g)),
    Mutation("x 2", with_result(lambda g: g + g)),
    Mutation("x 1.001", with_result(lambda g: g * 1.001)),
    Mutation("dtype", with_result(lambda g: g.astype("float32"))),
    Mutation("stale value", stale),
    Mutation("no sum", without_sum),
    Mutation("not inverted", not_inverted),
    Mutation("assigned", assigned),
    Mutation("lost share", lost),
    Mutation("NaN at 0", at_points(is_point(0.0), np.nan)),
    Mutation("at 0", at_points(is_point(0.0))),
    Mutation("at -0.0", at_points(is_point(-0.0))),
    Mutation("at ±1", at_points(is_point(1.0, -1.0))),
    Mutation("at a tie", at_points(is_tie)),
    Mutation("at equal elements", at_points(is_alike)),
    Mutation("at a kink", at_points(is_kink)),
    Mutation("at an end", at_points(is_end, np.nan)),
)

CAUGHT, MISSED, NONE = "caught", "MISSED", ""


def table(examples: int = 50) -> dict[str, dict[str, str]]:
    """For each primitive with rules and each mutation: caught, missed, or no such rule.

    Args:
        examples: how many operands the checker may try before it has missed.
    """
    rows = {}
    for name in PRIMITIVES:
        primitive = primitive_of(OURS[name])
        rows[name] = {m.name: outcome(primitive, m, examples) for m in MUTATIONS}
    return rows


def outcome(primitive: Primitive, mutation: Mutation, examples: int) -> str:
    """Whether the checker rejects every broken form that the mutation gives."""
    variants = mutation.variants(primitive)
    if not variants:
        return NONE
    if all(_is_caught(primitive.name, variant, examples) for variant in variants):
        return CAUGHT
    return MISSED


def _is_caught(name: str, variant: Variant, examples: int) -> bool:
    """Whether the checker rejects a broken primitive: special points, then others."""

    def anywhere(case: Any, seed: int) -> None:
        f, operands = case
        check_function(f, *operands, seed=seed, name=name, special=False)

    whole = whole_cases(name)  # drawn once, by a primitive that is right
    with variant, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wrong rules divide by zero and the like
        try:
            broken = primitive_of(OURS[name])
            for f, operands in whole:
                check_at_points(Function(f, operands), 2, broken)
            _on_drawn(anywhere, PRIMITIVES[name], examples)()
        except (GradientError, ValueError, TypeError):
            return True  # the engine itself refuses gradients of a wrong shape
    return False


@functools.cache
def whole_cases(name: str) -> list[Any]:
    """A few calls of a primitive that differentiate by all of its operands."""
    drawn: list[Any] = []
    cases = whole_calls_of(OURS[name])
    _on_drawn(lambda case, _: drawn.append(case), cases, SPECIAL_EXAMPLES)()
    return drawn


def _on_drawn(check: Callable[..., None], cases: Any, examples: int) -> Any:
    """`check` as a property that tries the same examples every time."""
    tool = hypothesis()
    settings = tool.settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[tool.Phase.generate],
        suppress_health_check=list(tool.HealthCheck),
    )
    seeds = tool.strategies.integers(0, 2**32 - 1)
    return settings(tool.given(cases, seeds)(check))


def text_of(rows: dict[str, dict[str, str]]) -> Iterator[str]:
    """The table as lines of Markdown, with the count at its end."""
    names = [mutation.name for mutation in MUTATIONS]
    yield "| primitive | " + " | ".join(names) + " |"
    yield "| --- |" + " --- |" * len(names)
    for name, row in rows.items():
        yield f"| {name} | " + " | ".join(row[n] for n in names) + " |"
    cells = [cell for row in rows.values() for cell in row.values() if cell]
    yield ""
    yield (
        f"{cells.count(CAUGHT)} of {len(cells)} mutations of {len(rows)} primitives "
        f"caught, {cells.count(MISSED)} missed, none declared equivalent."
    )


def main() -> int:
    """Print the table; the exit status is 1 where a wrong rule was accepted."""
    rows = table()
    for line in text_of(rows):
        print(line)
    return int(any(MISSED in row.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
