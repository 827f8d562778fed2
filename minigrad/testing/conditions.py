"""Is an operation right in every condition?  `check_function`, `_primitive`, `_module`.

Beside the gradients of every order: float32 against float64, memory with gaps and
backwards and read-only, one array as two operands, an operand used twice, the other
readings of the tape, and operands that nobody may write to.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.checkpointing import checkpoint
from minigrad.inspect import profile, record_lines
from minigrad.tape import Primitive, Scope, wrap
from minigrad.tensor import Tensor
from minigrad.testing.blame import Wrong, told
from minigrad.testing.checker import check_orders, name_of
from minigrad.testing.function import Function, as_leaf, pull
from minigrad.testing.kinks import check_kinks
from minigrad.testing.levels import ROUND_OFFS, clear_of_zero, first_beyond
from minigrad.testing.oracles import EPS
from minigrad.testing.special import check_special
from minigrad.testing.strategies import (
    Case,
    calls_of,
    hypothesis,
    primitive_of,
    whole,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

# float32 may be off from float64 by this many of its own round-offs of the largest
# number: operands have a dozen elements, and each operation adds up to one.
FLOAT32_ROUND_OFFS = 100
FLOAT32_EPS = float(np.finfo(np.float32).eps)
# Each of these tries all special points; they differ in shapes and settings alone.
SPECIAL_EXAMPLES = 5
# So many pairs of operands of one shape are tried; large layers have hundreds.
PAIRS = 20

Arrays = list[np.ndarray]


def check_function(
    f: Callable[..., Any],
    *arrays: Any,
    order: int = 2,
    seed: int = 0,
    name: str | None = None,
    device: str = "cpu",
    special: bool = True,
) -> None:
    """`check_gradients`, and all that must not change a gradient.

    Args: those of `check_gradients`.

    Raises:
        GradientError: as `check_gradients`; it names the condition.
    """
    _check(Function(f, arrays, device), order, seed, name or name_of(f), special)


def _check(
    function: Function,
    order: int,
    seed: int,
    name: str,
    special: bool,
    made: Primitive | None = None,
) -> None:
    """All orders, one condition after the other, and the special points."""
    check_orders(function, order, seed, name)
    if function.operands:
        _check_conditions(function, name, seed)
    if special:
        check_at_points(function, order, seed, name, made)


def check_at_points(
    function: Function, order: int, seed: int, name: str, made: Primitive | None
) -> None:
    """The special points, and the kinks that a primitive declares.

    Raises:
        GradientError: as `check_primitive`.
    """
    check_special(function, order, seed, name, made)
    if made is not None:
        check_kinks(function, made)


def check_primitive(
    primitive: Callable[..., Any],
    *arrays: Any,
    settings: Mapping[str, Any] | None = None,
    order: int = 3,
    seed: int = 0,
    device: str = "cpu",
    examples: int = 50,
    cases: SearchStrategy[Case] | None = None,
) -> None:
    """Check an operation made with `minigrad.primitive` in every condition.

    Without `arrays`, operands of every shape are drawn (Hypothesis is needed) in the
    domain that the primitive declares and clear of the kinks that it declares.

    Args:
        primitive: the decorated function.
        arrays: its operands.
        settings: its keyword-only settings.
        order: 1 for gradients, 2 also for gradients of gradients, and so on.
        seed: of the random cotangents.
        device: where to compute.
        examples: how many operands to draw.
        cases: what to draw from instead: a Hypothesis strategy of calls (f, operands).

    Raises:
        GradientError: names primitive, operand, index and both values.
        TypeError: operands cannot be drawn, because there are settings to choose.
    """
    made = primitive_of(primitive)
    how: dict[str, Any] = {"order": order, "name": made.name}
    if arrays:
        chosen = dict(settings or {})
        function = Function(lambda *x: primitive(*x, **chosen), arrays, device)
        _check(function, seed=seed, special=True, made=made, **how)
        return
    cases = calls_of(primitive) if cases is None else cases

    def check(call: tuple[Callable[..., Any], Sequence[Any]], seed: int) -> None:
        f, operands = call
        _check(Function(f, operands, device), seed=seed, special=False, **how)

    def at_points(call: tuple[Callable[..., Any], Sequence[Any]], seed: int) -> None:
        f, operands = call
        check_at_points(Function(f, operands, device), seed=seed, made=made, **how)

    few = min(examples, SPECIAL_EXAMPLES)
    special = _property(at_points, whole(cases, primitive), few, shrinks=False)
    hypothesis().seed(seed)(special)()
    hypothesis().seed(seed)(_property(check, cases, examples))()


def _property(
    check: Callable[..., None], drawn: Any, examples: int, shrinks: bool = True
) -> Any:
    """`check` as a Hypothesis test that keeps no memory of earlier runs."""
    tool = hypothesis()
    phases = [tool.Phase.generate, *([tool.Phase.shrink] if shrinks else [])]
    seeds = tool.strategies.integers(0, 2**32 - 1)
    settings = tool.settings(
        max_examples=examples,
        phases=phases,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(tool.HealthCheck),
    )
    return settings(tool.given(drawn, seeds)(check))


def check_module(
    module: Any,
    *inputs: Any,
    order: int = 2,
    seed: int = 0,
    device: str = "cpu",
    special: bool = True,
    method: str | None = None,
) -> None:
    """Check a layer by its inputs and by all of its parameters, in every condition.

    The layer computes in float64 on copies; its own parameters stay as they are, and
    so does what it remembers: every call starts from the same state. What it returns
    may be nested in tuples and lists.

    Args:
        module: anything with `named_modules()` and `named_parameters()`.
        inputs: what it is called with; floats are differentiated.
        order: 1 for gradients, 2 also for gradients of gradients, and so on.
        seed: of the random cotangents.
        device: where to compute.
        special: as in `check_gradients`.
        method: what to call instead of the module itself, "loss" for example.

    Raises:
        GradientError: names primitive, operand, index and both values.
        TypeError: the module has no forward, and no method is named.
    """
    run = _runner(module, method)
    names, parameters = _parameters(module)

    def f(*operands: Any) -> list[Tensor]:
        given, stand_ins = operands[: len(inputs)], operands[len(inputs) :]
        with _replaced(module, dict(zip(map(id, parameters), stand_ins, strict=True))):
            return list(_flat(run(*given)))

    arrays = [*inputs, *(parameter.numpy() for parameter in parameters)]
    function = Function(f, arrays, device)
    function.names = dict(enumerate(names, start=len(inputs)))
    name = f"{type(module).__name__} and its parameters"
    _check(function, order, seed, name, special)


def _runner(module: Any, method: str | None) -> Callable[..., Any]:
    """What is called: the module, or one of its methods."""
    if method is not None:
        return getattr(module, method)

    def run(*given: Any) -> Any:
        try:
            return module(*given)
        except NotImplementedError as error:
            raise TypeError(
                f"{type(module).__name__} has no forward to be checked. Name the "
                "method to check instead: check_module(model, *inputs, method='loss')."
            ) from error

    return run


def _parameters(module: Any) -> tuple[list[str], list[Any]]:
    named = dict(module.named_parameters())
    return list(named), list(named.values())


@contextlib.contextmanager
def _replaced(module: Any, stand_ins: dict[int, Any]) -> Iterator[None]:
    """Let other Tensors stand where the module has its parameters, for a while.

    Afterwards all of its attributes are what they were, their contents too.
    """
    owners = [vars(owner) for _, owner in module.named_modules()]
    known = [(attributes, dict(attributes)) for attributes in owners]
    values = {id(x): x for _, before in known for x in before.values()}
    held = [x.array if isinstance(x, Tensor) else x for x in values.values()]
    contents = [(x, x.copy()) for x in held if isinstance(x, REMEMBERING)]
    try:
        for attributes in owners:
            for name, value in attributes.items():
                attributes[name] = stand_ins.get(id(value), value)
        yield
    finally:
        for attributes, before in known:
            attributes.clear()
            attributes.update(before)
        for value, content in contents:
            _refill(value, content)


REMEMBERING = (np.ndarray, list, dict, set)


def _refill(value: Any, content: Any) -> None:
    """Give a container the content that it had."""
    if isinstance(value, list):
        value[:] = content
    elif isinstance(value, np.ndarray):
        if not np.array_equal(value, content):
            value[...] = content
    else:
        value.clear()
        value.update(content)


def _flat(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, list | tuple):
        for output in outputs:
            yield from _flat(output)
    else:
        yield outputs


# -- the conditions ----------------------------------------------------------------


def _check_conditions(function: Function, name: str, seed: int) -> None:
    """Try each condition; none may write into an operand."""
    random = np.random.default_rng(seed)
    cotangents = [
        clear_of_zero(random, y.shape) for y in function.on_arrays(function.operands)
    ]
    for condition in CONDITIONS:
        before = _bytes(function)
        for wrong in condition(function, cotangents, random):
            raise told(name, function, wrong, seed)
        if _bytes(function) != before:
            wrong = _wrong("came with a write into an operand")
            raise told(name, function, wrong, seed)


def _bytes(function: Function) -> list[bytes]:
    return [a.tobytes() for a in (*function.operands, *function.constants.values())]


def _wrong(what: str) -> Wrong:
    return Wrong(what, None, (), np.nan, np.nan, 0.0, "", 1)


def _gradients(
    function: Any, leaves: list[Tensor], cotangents: Arrays, **how: Any
) -> Arrays:
    return [g.numpy() for g in pull(function(leaves), leaves, cotangents, **how)]


def _plain(function: Function, cotangents: Arrays) -> Arrays:
    return _gradients(function, function.leaves(function.operands), cotangents)


def _compare(
    what: str, found: Arrays, expected: Arrays, round_offs: float, other: str
) -> Iterator[Wrong]:
    """The first difference beyond round-off, relative to the largest element."""
    scale = max(np.abs(g).max(initial=1.0) for g in expected)
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        bound = round_offs * scale
        index = first_beyond(ours, theirs, bound)
        if index is not None:
            values = float(ours[index]), float(theirs[index]), float(bound)
            yield Wrong(what, i, index, *values, other, 1)


def _float32(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """The same in float32 as in float64, up to float32's own round-offs."""
    narrow = [a.astype(np.float32) for a in function.operands]
    c = [x.astype(np.float32).astype(np.float64) for x in cotangents]
    leaves = function.leaves(narrow)
    gradients = pull(function(leaves), leaves, c)
    for i, (g, leaf) in enumerate(zip(gradients, leaves, strict=True)):
        if g.dtype != leaf.dtype:
            what = f"of a float32 operand is {g.dtype}"
            yield Wrong(what, i, (), np.nan, np.nan, 0.0, "", 1)
    wide = function.leaves([a.astype(np.float64) for a in narrow])
    expected = _gradients(function, wide, c)
    found = [g.numpy() for g in gradients]
    off = FLOAT32_ROUND_OFFS * FLOAT32_EPS
    yield from _compare("is wrong in float32", found, expected, off, "float64")


def _memory(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """Operands whose memory is reversed, has gaps, is column by column, read-only."""
    expected = _plain(function, cotangents)
    for what, lay_out in LAYOUTS.items():
        arrays = [lay_out(function.put(a)) for a in function.operands]
        leaves = [as_leaf(wrap(a)) for a in arrays]
        found = _gradients(function, leaves, cotangents)
        text = f"is wrong for {what} operands"
        yield from _compare(text, found, expected, ROUND_OFFS * EPS, "contiguous ones")


def reversed_with_gaps(array: Any) -> Any:
    """The same values in memory that is walked backwards with gaps, read-only."""
    memory = np.zeros_like(array, shape=[2 * n for n in array.shape])
    key: Any = (..., *(slice(None, None, -2) for _ in array.shape))
    room = memory[key]
    room[...] = array
    if isinstance(room, np.ndarray):
        room.flags.writeable = False
    return room


def column_by_column(array: Any) -> Any:
    """The same values with the first axis closest in memory."""
    return array.T.copy().T


LAYOUTS = {
    "reversed, strided, read-only": reversed_with_gaps,
    "column-by-column": column_by_column,
}


def _fan_out(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """Operands that are used twice: the gradients of both uses add up."""
    leaves = function.leaves(function.operands)
    others = [clear_of_zero(random, c.shape) for c in cotangents]
    outputs = [*function(leaves), *function(leaves)]
    found = [g.numpy() for g in pull(outputs, leaves, [*cotangents, *others])]
    expected = _plain(
        function, [a + b for a, b in zip(cotangents, others, strict=True)]
    )
    text = "is wrong where operands are used twice"
    yield from _compare(text, found, expected, ROUND_OFFS * EPS, "the sum of both uses")


def _same_twice(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """One array as two operands: its gradient is the sum of theirs."""
    operands = function.operands
    for i, j in _some(_alike(operands), random):
        arrays = list(operands)
        arrays[j] = arrays[i].copy()
        if not _is_defined(function, arrays):
            continue
        apart = _gradients(function, function.leaves(arrays), cotangents)
        leaves = function.leaves(arrays)
        leaves[j] = leaves[i]
        together = _gradients(function, leaves, cotangents)
        expected, found = [apart[i] + apart[j]], [together[i]]
        for wrong in _compare(
            f"is wrong where it is operand {j} as well",
            found,
            expected,
            ROUND_OFFS * EPS,
            "the sum of both operands'",
        ):
            yield dataclasses.replace(wrong, operand=i)


def _is_defined(function: Function, arrays: Arrays) -> bool:
    with np.errstate(all="ignore"):
        return all(np.isfinite(y).all() for y in function.on_arrays(arrays))


def _alike(operands: Arrays) -> list[tuple[int, int]]:
    pairs = [(i, j) for i in range(len(operands)) for j in range(len(operands))]
    return [
        (i, j) for i, j in pairs if i != j and operands[i].shape == operands[j].shape
    ]


def _some(pairs: list[tuple[int, int]], random: Any) -> list[tuple[int, int]]:
    if len(pairs) <= PAIRS:
        return pairs
    return [pairs[k] for k in random.choice(len(pairs), PAIRS, replace=False)]


def _readings(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """The tape watched, and dropped and recorded again, gives the same gradients."""
    expected = _plain(function, cotangents)
    with profile(), record_lines():
        watched = _plain(function, cotangents)
    off = ROUND_OFFS * EPS
    text = "is another one while watched"
    yield from _compare(text, watched, expected, off, "the plain walk")
    again = checkpoint(lambda *inputs: tuple(function(inputs)))
    leaves = function.leaves(function.operands)
    with Scope(enabled=True):
        found = _gradients(lambda x: list(again(*x)), leaves, cotangents)
    text = "is another one with checkpoint()"
    yield from _compare(text, found, expected, off, "the plain walk")


CONDITIONS = (_float32, _memory, _fan_out, _same_twice, _readings)
