"""What is backward?  One walk over the tape, newest entry first."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.backend import ARRAY_TYPES, as_array, device_of, is_array, to_device
from minigrad.tape.entry import Entry, Tensor, as_result, recording, wrap
from minigrad.tape.errors import freed_error
from minigrad.tape.primitives import READS_NOTHING, READS_OUTPUT, Primitive
from minigrad.tape.writes import writes


class Recorded:
    """An entry whose arrays are Tensors again, for rules that are to be recorded."""

    def __init__(self, entry: Entry) -> None:
        operands = entry.operands
        parents = entry.parents
        rewrapped = (
            _rewrap(x, parent) for x, parent in zip(operands, parents, strict=False)
        )
        self.operands = (*rewrapped, *operands[len(parents) :])  # marks stay arrays
        self.output = _rewrap(entry.output, entry)
        self.parents = parents
        self.settings = entry.settings


def _rewrap(array: Any, entry: Entry | None) -> Any:
    return wrap(array, entry) if array.__class__ in ARRAY_TYPES else array


class Pending:
    """What an entry has received so far, as primitives with `into` see it."""

    __slots__ = ("entry", "gradient", "late", "owned")

    def __init__(self, entry: Entry, gradient: Any, owned: bool, late: Any) -> None:
        self.entry = entry
        self.gradient = gradient  # None while only late products wait
        self.owned = owned  # nobody else holds that array: it may be added to
        self.late = late  # products that a primitive has put off


class Walk:
    """One reading of the tape from an output back to where it began.

    A heap hands out the newest pending entry, which has had all its consumers: no
    search is needed beforehand, and no recursion.

    Args:
        create_graph: run the rules on Tensors, so that they are recorded too.
        retain_graph: keep the entries' arrays for another walk.
        wanted: entries whose gradients are to be collected in `found`.
        into_leaves: add the leaves' gradients to their `.grad`.
    """

    def __init__(
        self,
        create_graph: bool = False,
        retain_graph: bool = False,
        wanted: Iterable[Entry] = (),
        into_leaves: bool = False,
    ) -> None:
        self.create_graph = create_graph
        self.retain_graph = retain_graph or create_graph
        self.into_leaves = into_leaves
        watched = any(getattr(o, "every_gradient", False) for o in recording.observers)
        self.shortcuts = not (create_graph or watched)
        self.wanted = {entry.order for entry in wanted}
        self.oldest = min(self.wanted, default=0)
        self.found: dict[int, Any] = {}
        # order -> (entry, its gradient so far, whether that array is ours to add to)
        self.pending: dict[int, tuple[Entry, Any, bool]] = {}
        self.late: dict[int, Any] = {}  # order -> products that were put off
        self.heap: list[int] = []

    def start(self, entry: Entry, gradient: Any) -> None:
        """Add `gradient` to what `entry` has received."""
        self.push(entry, gradient, False)

    def push(self, entry: Entry, gradient: Any, owned: bool) -> None:
        """Add a contribution to an entry's gradient.

        A contribution that others may hold is not added to: the next makes a fresh
        sum, which is ours. What is ours is added to in place.
        """
        known = self.pending.get(entry.order)
        if known is None:
            heappush(self.heap, -entry.order)
        elif known[1] is not None:
            if known[2] and not self.create_graph:
                total = known[1]
                total += gradient
            else:
                total = known[1] + gradient
            gradient, owned = total, True
        self.pending[entry.order] = (entry, gradient, owned)

    def fill(self, whole: Entry, index: int, gradient: Any) -> None:
        """Write an item's gradient into its place in the whole's.

        The place is a part of one array of zeros, so that nothing needs joining; where
        rules are recorded, it is one in a list that the joint rule joins.
        """
        if whole.parents is None:
            raise freed_error(whole)
        known = self.pending.get(whole.order)
        if known is None:
            known = (whole, self._room_for(whole, gradient), True)
            self.pending[whole.order] = known
            heappush(self.heap, -whole.order)
        room = known[1]
        if isinstance(room, list):
            room[index] = gradient
        else:
            whole.primitive.part(room, index, **whole.settings)[...] = gradient

    def _room_for(self, whole: Entry, gradient: Any) -> Any:
        made = whole.primitive
        if made is None or made.part is None or not self.shortcuts:
            return [None] * len(whole.shape)
        shape = whole.parents[0].shape
        return np.zeros(shape, whole.dtype, like=as_result(gradient))

    def run(self) -> dict[int, Any]:
        """Walk until nothing is pending; return the wanted gradients by order."""
        heap, pending = self.heap, self.pending
        plain = not (self.create_graph or recording.observers)
        while heap and -heap[0] >= self.oldest:
            order = -heappop(heap)
            entry, g, owned = pending.pop(order)
            if order in self.late:
                g, owned = self.late.pop(order).total(g), True
            if entry.notes is not None or order in self.wanted:
                g, owned = self._show(entry, g, owned)
            made = entry.primitive
            if made is None:
                entry.propagate(g, owned, self)
                continue
            if entry.parents is None:
                raise freed_error(entry)
            if writes.last > order:
                writes.check(entry)
            if plain and made.simple:
                self._step(entry, g, made.quick)
            else:
                self._step_any(entry, g)
            if not self.retain_graph:
                entry.parents = entry.operands = entry.output = None
        return self.found

    def _show(self, entry: Entry, g: Any, owned: bool) -> tuple[Any, bool]:
        """Show a complete gradient to the entry's hooks and to who wanted it."""
        if entry.notes is not None and "hooks" in entry.notes:
            g, owned = _run_hooks(entry, g), False
        if entry.order in self.wanted:
            self.found[entry.order] = _copy(g)
        return g, owned

    def _step(self, entry: Entry, g: Any, rules: tuple[tuple[int, Any], ...]) -> None:
        """Hand `g` on to the parents: `_step_any` for the common case, inlined."""
        pending = self.pending
        for parent, (reads, rule) in zip(entry.parents, rules, strict=False):
            if parent is None:
                continue
            if reads >= 0:
                gradient = rule(g, entry.operands[reads])
            elif reads == READS_NOTHING:
                gradient = rule(g)
            else:
                gradient = rule(g, entry.output if reads == READS_OUTPUT else entry)
            if gradient.shape != parent.shape or gradient.dtype is not parent.dtype:
                gradient = _fit(entry.primitive, gradient, parent)
            order = parent.order
            if order in pending:
                self.push(parent, gradient, False)
            else:
                owned = gradient is not g and gradient.base is None
                pending[order] = (parent, gradient, owned)
                heappush(self.heap, -order)

    def _step_any(self, entry: Entry, g: Any) -> None:
        """Hand `g` on to the parents, in every case: joint, into, watched, recorded."""
        made = entry.primitive
        whole = g if made.many else None  # items have filled it: nobody else has it
        started = perf_counter()
        handed = [
            (parent, gradient)
            for parent, gradient in self._gradients(entry, g)
            if parent is not None and gradient is not None
        ]
        for observer in recording.observers:
            observer.backward(entry, g, handed, perf_counter() - started)
        for parent, gradient in handed:
            fitted = _fit(made, gradient, parent)
            # A joint rule may hand one array to several operands.
            ours = made.joint is None and _is_fresh(fitted, g)
            self.push(parent, fitted, ours or fitted is whole)

    def _gradients(self, entry: Entry, g: Any) -> Iterable[tuple[Any, Any]]:
        made = entry.primitive
        source = Recorded(entry) if self.create_graph else entry
        if made.many and not isinstance(g, list):
            yield entry.parents[0], g
            return
        if made.many:
            g = _fill(g, entry)
        if made.joint is not None:
            yield from zip(entry.parents, made.joint.apply(g, source), strict=True)
            return
        for i, (parent, apply) in enumerate(
            zip(entry.parents, made.applies, strict=False)
        ):
            if parent is not None and not self._add_into(i, parent, entry, g):
                yield parent, apply(g, source)

    def _add_into(self, which: int, parent: Entry, entry: Entry, g: Any) -> bool:
        """Let the primitive add to what the parent has received, where it knows how."""
        into = entry.primitive.into
        if into is None or not self.shortcuts:
            return False
        order = parent.order
        known = self.pending.get(order, (parent, None, False))
        seen = Pending(*known, self.late.pop(order, None))
        added = into(seen, which, g, entry)
        if added and order not in self.pending:
            heappush(self.heap, -order)
        if added:
            self.pending[order] = (parent, seen.gradient, seen.owned)
        if seen.late is not None:
            self.late[order] = seen.late
        return added


def _fit(made: Primitive, gradient: Any, parent: Entry) -> Any:
    """Bring a rule's gradient to the parent's shape and dtype."""
    if gradient.shape != parent.shape:
        if made.fit is None:
            raise ValueError(
                f"the gradient rule of {made.name!r} returned shape {gradient.shape} "
                f"for an operand of shape {parent.shape}: they must be equal. Correct "
                "the rule (or give the primitive fit=, if its operands broadcast)."
            )
        gradient = made.fit(gradient, parent.shape)
    if gradient.dtype != parent.dtype:
        _refuse_complex(made, gradient, parent)
        gradient = gradient.astype(parent.dtype)
    return gradient


def _refuse_complex(made: Primitive, gradient: Any, parent: Entry) -> None:
    """Rules do not conjugate: a complex gradient may have the wrong sign."""
    if gradient.dtype.kind == "c" and parent.dtype.kind != "c":
        raise TypeError(
            f"{made.name} made complex numbers of a tensor that requires gradients: "
            "only real numbers have them here, and this gradient would be wrong. "
            "Compute with the real and the imaginary parts as two tensors, or on "
            "x.detach()."
        )


def _is_fresh(gradient: Any, g: Any) -> bool:
    """Whether a rule made this array, so that nobody else holds it."""
    if isinstance(gradient, Tensor):
        return False
    return gradient is not g and gradient.base is None


def _copy(gradient: Any) -> Any:
    return gradient if isinstance(gradient, Tensor) else gradient.copy()


def _fill(gradients: list[Any], whole: Entry) -> list[Any]:
    """Zeros for the items of a whole that no gradient reached."""
    model = next(g for g in gradients if g is not None)
    model = model.array if isinstance(model, Tensor) else model
    return [
        np.zeros_like(model, shape=shape) if g is None else g
        for g, shape in zip(gradients, whole.shape, strict=True)
    ]


def _run_hooks(entry: Entry, g: Any) -> Any:
    """Show a copy of the gradient to each hook, which may return another one."""
    for hook in (entry.notes or {}).get("hooks", ()):
        replaced: Any = hook(g if isinstance(g, Tensor) else wrap(g.copy()))
        if replaced is None:
            continue
        if not (isinstance(replaced, Tensor) or is_array(replaced)):
            raise TypeError(
                f"a gradient hook on {entry.name} returned a "
                f"{type(replaced).__name__}: only a Tensor can stand for a gradient. "
                "Return a Tensor, or None to leave the gradient as it is."
            )
        replaced = replaced if isinstance(replaced, Tensor) else wrap(replaced)
        if tuple(replaced.shape) != tuple(entry.shape):
            raise ValueError(
                f"a gradient hook on {entry.name} returned shape {replaced.shape}, but "
                f"the gradient has shape {entry.shape}. Return a Tensor of that shape, "
                "or None to leave the gradient as it is."
            )
        if replaced.dtype != entry.dtype:
            replaced = replaced.astype(entry.dtype)
        g = replaced if isinstance(g, Tensor) else replaced.array
    return g


# -- starting ----------------------------------------------------------------------


def backward(
    output: Tensor, grad_output: Any = None, retain_graph: bool = False
) -> None:
    """Add d(output)/d(leaf), times `grad_output`, to the `.grad` of every leaf.

    Raises:
        RuntimeError: the output was not recorded, or its tape was walked already.
        ValueError: the output is no scalar and `grad_output` is missing or misshapen.
    """
    if output.entry is None:
        raise RuntimeError(
            "backward() was called on a tensor that no gradient can reach: nothing was "
            "recorded for it, because no operand had requires_grad=True, or because it "
            "was computed inside no_grad() or detached. Make a parameter with "
            "Tensor(..., requires_grad=True) and compute the output from it."
        )
    seed = seed_of(output, grad_output)
    walk = Walk(retain_graph=retain_graph, into_leaves=True)
    walk.start(output.entry, seed.array if isinstance(seed, Tensor) else seed)
    walk.run()


def seed_of(output: Any, grad_output: Any) -> Any:
    """The gradient that the walk starts from: ones for a scalar, or what was given."""
    if grad_output is None:
        if output.array.size != 1:
            raise ValueError(
                f"the gradient of a tensor of shape {output.array.shape} needs a "
                "starting gradient: only a single number has one by itself. Reduce it "
                "first, for example with .sum(), or pass grad_output=."
            )
        return np.ones_like(output.array)
    seed: Any = grad_output
    if not isinstance(grad_output, Tensor):
        listed = None if is_array(grad_output) else output.array.dtype
        seed = to_device(as_array(grad_output, listed), device_of(output.array))
    if seed.shape != output.array.shape:
        raise ValueError(
            f"grad_output has shape {tuple(seed.shape)}, but the output has shape "
            f"{output.array.shape}: they must be equal. Broadcast or reshape it first."
        )
    if seed.dtype != output.array.dtype:
        seed = seed.astype(output.array.dtype)
    return seed
