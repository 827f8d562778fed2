"""Gradient checkpointing: segments of the tape are dropped and recorded again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

from minigrad.random import Generator, watch_draws
from minigrad.tape import (
    Entry,
    Item,
    Leaf,
    Scope,
    freed_error,
    next_order,
    recording,
    wrap,
    writes,
)
from minigrad.tensor import Tensor


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, but its segment of the tape is dropped and recorded again by backward.

    The arrays inside `f` live only while they are used, at the price of running `f`
    twice. `f` returns a Tensor or several. The generators that it draws from draw the
    same numbers again (do not draw from them in another thread meanwhile).

    Raises:
        TypeError: `f` is no function, or returns something else.
        RuntimeError: in backward, when what `f` reads was changed in place meanwhile.

    Source: T. Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    _check_function(f)

    @functools.wraps(f)
    def wrapped(*operands: Any, **settings: Any) -> Any:
        function = functools.partial(f, **settings) if settings else f
        if recording.on_tensors:
            return function(*operands)  # a program drops what it does not need itself
        first = next_order()
        with watch_draws() as states:
            outputs = function(*operands)
        parts = _parts(f, outputs)
        if not recording.enabled or all(part.entry is None for part in parts):
            return outputs
        segment = Segment(function, operands, states, [part.array for part in parts])
        given = {x.entry.order for x in operands if is_live(x)}
        segment.reads_more = reaches_older(parts, first, given)
        dropped = [
            wrap(part.array, part.entry and Item(segment, i, part.array))
            for i, part in enumerate(parts)
        ]
        return _like(outputs, dropped)

    return wrapped


def _check_function(f: Any) -> None:
    if not callable(f):
        raise TypeError(
            f"checkpoint got a {type(f).__name__}: it takes the function whose part of "
            "the tape is dropped. Write checkpoint(f)(x), not checkpoint(f(x))."
        )


def _parts(f: Callable[..., Any], outputs: Any) -> list[Tensor]:
    """The Tensors that a function returned."""
    parts = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    wrong = [part for part in parts if not isinstance(part, Tensor)]
    if wrong or not parts:
        found = type(wrong[0]).__name__ if wrong else "an empty tuple"
        name = getattr(f, "__name__", "the function")
        raise TypeError(
            f"checkpoint got {found} from {name}: what it returns is recorded again, "
            "so it is one Tensor or a tuple of them. Return the Tensors alone, nested "
            "tuples made flat."
        )
    return parts


def _like(outputs: Any, parts: list[Tensor]) -> Any:
    """The parts in a tuple, named tuple or list, or the one by itself."""
    if hasattr(outputs, "_fields"):
        return type(outputs)(*parts)
    return type(outputs)(parts) if isinstance(outputs, tuple | list) else parts[0]


def is_live(x: Any) -> bool:
    """Whether a gradient can come in through `x`: it is a Tensor on a tape."""
    return isinstance(x, Tensor) and x.entry is not None


def reaches_older(
    outputs: Sequence[Tensor], first: int, given: Collection[int] = ()
) -> bool:
    """Whether outputs depend on what was recorded before the order `first`.

    Leaves that were made since then count as well, for they may be seen from elsewhere;
    entries whose order is among those `given` do not count.
    """
    entries = [x.entry for x in outputs if x.entry is not None]
    waiting = [entry for entry in entries if entry.order not in given]
    seen = {*given, *(entry.order for entry in waiting)}
    if any(_is_from_elsewhere(entry, first) for entry in waiting):
        return True
    while waiting:
        for parent in waiting.pop().parents or ():
            if parent is None or parent.order in seen:
                continue
            if parent.order < first:
                return True
            if parent.__class__ is not Entry and _is_from_elsewhere(parent, first):
                return True
            seen.add(parent.order)
            waiting.append(parent)
    return False


def _is_from_elsewhere(entry: Entry, first: int) -> bool:
    """Whether an entry is older, may be seen from elsewhere, or hides what is."""
    hides = isinstance(entry, Segment) and entry.reads_more
    return entry.order < first or type(entry) is Leaf or hides


class Segment(Entry):
    """The entry of a dropped segment: enough to record it once more."""

    __slots__ = ("function", "reads_more", "states", "tensors")

    name = "checkpoint"

    def __init__(
        self,
        function: Callable[..., Any],
        operands: Sequence[Any],
        states: dict[Generator, dict[str, Any]],
        arrays: list[Any],
    ) -> None:
        kept = tuple(x.array if isinstance(x, Tensor) else x for x in operands)
        parents = tuple(x.entry if isinstance(x, Tensor) else None for x in operands)
        shapes: Any = tuple(array.shape for array in arrays)
        super().__init__(None, parents, kept, (), {}, shapes, arrays[0].dtype)
        self.function = function
        self.states = states
        self.tensors = tuple(isinstance(x, Tensor) for x in operands)
        self.reads_more = False  # than its operands: something in its closure

    def propagate(self, gradients: list[Any], owned: bool, backward_pass: Any) -> None:
        """Record the segment again; the pass goes on through the new entries."""
        if self.parents is None:
            raise freed_error(self)
        writes.check(self)
        written = writes.since(self.order)
        outputs = self._run_again()
        for output, gradient in zip(outputs, gradients, strict=True):
            if gradient is not None and output.entry is not None:
                self._check_again(output.entry, written)
                backward_pass.start(output.entry, gradient)
        if not backward_pass.retain_graph:
            self.release()

    def _run_again(self) -> Sequence[Any]:
        operands = [
            wrap(x, parent) if is_tensor else x
            for x, parent, is_tensor in zip(
                self.operands, self.parents, self.tensors, strict=True
            )
        ]
        now = {generator: generator.get_state() for generator in self.states}
        _set_states(self.states)
        try:
            with Scope(enabled=True):
                outputs = self.function(*operands)
        finally:
            _set_states(now)
        return outputs if isinstance(outputs, tuple | list) else (outputs,)

    def _check_again(self, newest: Entry, written: dict[int, Any]) -> None:
        """Refuse arrays that `f` reads from elsewhere, written since it first ran.

        Those that it makes and fills itself are its own business.
        """
        if not written:
            return
        seen: set[int] = set()
        waiting = [newest]
        while waiting:
            entry = waiting.pop()
            if entry.order in seen or entry.order < self.order:
                continue
            seen.add(entry.order)
            writes.check(entry, written)
            waiting.extend(parent for parent in entry.parents if parent is not None)


def _set_states(states: dict[Generator, dict[str, Any]]) -> None:
    for generator, state in states.items():
        generator.set_state(state)
