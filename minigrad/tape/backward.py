"""The backward pass: gradients from an output to where it began, newest entry first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.backend import ARRAY_TYPES, device_of, is_array, to_device
from minigrad.tape.entry import Entry, Leaf
from minigrad.tape.errors import freed_error
from minigrad.tape.pending import Pending
from minigrad.tape.primitives import Primitive
from minigrad.tape.record import primitive
from minigrad.tape.recording import recording, tell
from minigrad.tape.value import TensorBase, plain_array, wrap
from minigrad.tape.writes import writes


class OnTensors:
    """An entry whose arrays are Tensors, for rules that are to be recorded or shown."""

    def __init__(self, entry: Entry, recorded: bool) -> None:
        parents = entry.parents
        parents_of = parents if recorded else (None,) * len(parents)
        y, *residuals = entry.results or (None,)
        self.parents = parents
        self.settings = entry.settings
        self.operands = tuple(map(_rewrap, entry.operands, parents_of))
        self.results = (_rewrap(y, entry if recorded else None), *residuals)


def _rewrap(array: Any, entry: Entry | None) -> Any:
    return wrap(array, entry) if array.__class__ in ARRAY_TYPES else array


class BackwardPass:
    """One pass over the tape from an output back to where it began.

    A heap hands out the newest pending entry, which has had all its consumers: no
    search is needed beforehand, and no recursion.

    Args:
        create_graph: run the rules on Tensors, so that they are recorded too.
        retain_graph: keep the entries' arrays for another pass.
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
        self.observers = recording.observers
        self.on_tensors = create_graph or recording.on_tensors
        every = any(observer.every_gradient for observer in self.observers)
        self.shortcuts = not (self.on_tensors or every)
        self.wanted = {entry.order for entry in wanted}
        self.oldest = min(self.wanted, default=0)
        self.found: dict[int, Any] = {}
        self.pending: dict[int, Pending] = {}  # by the entry's creation number
        self.heap: list[int] = []
        self.handed: list[tuple[Entry, Any]] | None = None  # what observers are shown

    def start(self, entry: Entry, gradient: Any) -> None:
        """Add `gradient`, a Tensor or an array, to what `entry` has received."""
        if self.on_tensors != isinstance(gradient, TensorBase):
            gradient = wrap(gradient) if self.on_tensors else gradient.array
        self.add(entry, gradient, False)

    def add(self, entry: Entry, gradient: Any, owned: bool) -> None:
        """Add a contribution; `owned` says that nobody else holds that array."""
        pending = self.pending.get(entry.order)
        if pending is not None:
            pending.add(gradient, owned)
            return
        self.pending[entry.order] = Pending(entry, gradient, owned)
        heappush(self.heap, -entry.order)

    def pending_of(self, entry: Entry) -> Pending:
        """What has come in for an entry so far, perhaps nothing."""
        if entry.order not in self.pending:
            self.add(entry, None, False)
        return self.pending[entry.order]

    def fill(self, whole: Entry, i: int, gradient: Any) -> None:
        """Take the gradient of output `i` of an entry that has several."""
        if whole.parents is None:
            raise freed_error(whole)
        self.pending_of(whole).fill(i, gradient, self.shortcuts)

    def add_to_grad(self, leaf: Leaf, gradient: Any, owned: bool) -> None:
        """Add to a leaf's `.grad`, in an array that nobody else holds."""
        if not (owned or self.on_tensors):
            gradient = gradient.copy()
        gradient = gradient if self.on_tensors else wrap(gradient)
        while True:
            known = leaf.grad
            total = gradient if known is None else self._sum(known, gradient)
            if leaf.replace_grad(known, total):
                break
        tell("grad_added", leaf, known)

    def _sum(self, known: Any, gradient: Any) -> Any:
        if self.on_tensors:
            return known + gradient
        return wrap(known.array + gradient.array)

    def run(self) -> dict[int, Any]:
        """Go on until nothing is pending; return the wanted gradients by order."""
        heap, waiting, wanted = self.heap, self.pending, self.wanted
        step = self._step_observed if self.observers else self._step
        while heap and -heap[0] >= self.oldest:
            order = -heappop(heap)
            pending = waiting.pop(order)
            entry, g, owned = pending.entry, pending.gradient, pending.owned
            if pending.deferred is not None:
                g, owned = pending.total(), True
            if entry.notes is not None or order in wanted:
                g, owned = self._show(entry, g, owned)
            if entry.primitive is None:
                entry.propagate(g, owned, self)
                continue
            if entry.parents is None:
                raise freed_error(entry)
            if writes.last > order:
                writes.check(entry)
            step(entry, g)
            if not self.retain_graph:
                entry.release()
        return self.found

    def _show(self, entry: Entry, g: Any, owned: bool) -> tuple[Any, bool]:
        """Show a complete gradient to the entry's hooks and to who wanted it."""
        if entry.notes is not None and "hooks" in entry.notes:
            tell("hooked", entry)
            g, owned = _run_hooks(entry, g), False
        if entry.order in self.wanted:
            self.found[entry.order] = _copy(g)
        return g, owned

    def _step(self, entry: Entry, g: Any) -> None:
        """Call an entry's rules, and add what they give to what its parents have."""
        primitive, handed = entry.primitive, self.handed
        source = OnTensors(entry, self.create_graph) if self.on_tensors else entry
        joint = None if primitive.joint is None else self._joint(entry, g, source)
        additions = primitive.additions if self.shortcuts else None
        rules = primitive.applies
        for i, parent in enumerate(entry.parents):
            if parent is None:
                continue
            addition = additions and additions[i]
            if addition and addition(self.pending_of(parent), g, entry):
                continue
            gradient = rules[i](g, source) if joint is None else joint[i]
            if gradient.shape != parent.shape or gradient.dtype is not parent.dtype:
                gradient = _fitted(primitive, gradient, parent)
            ours = gradient is not g if joint is None else primitive.many
            ours = ours and not self.on_tensors and gradient.base is None
            self.add(parent, gradient, ours)
            if handed is not None:
                handed.append((parent, gradient))

    def _step_observed(self, entry: Entry, g: Any) -> None:
        started = perf_counter()
        self.handed = []
        self._step(entry, g)
        seconds = perf_counter() - started
        for observer in self.observers:
            observer.differentiated(entry, g, self.handed, seconds)

    def _joint(self, entry: Entry, g: Any, source: Any) -> Sequence[Any]:
        """All operands' gradients from one rule."""
        primitive = entry.primitive
        if primitive.many and not isinstance(g, list):
            return [g]  # the outputs' gradients stand in their places already
        g = _filled(g, entry) if primitive.many else g
        return primitive.joint_vjp.apply(g, source)


def _fitted(primitive: Primitive, gradient: Any, parent: Entry) -> Any:
    """Bring a rule's gradient to the parent's shape and dtype."""
    if gradient.shape != parent.shape:
        if primitive.unbroadcast is None:
            raise ValueError(
                f"the gradient rule of {primitive.name!r} returned shape "
                f"{gradient.shape} for an operand of shape {parent.shape}: they must "
                "be equal. Correct the rule (or give the primitive unbroadcast=, if "
                "its operands broadcast)."
            )
        gradient = primitive.unbroadcast(gradient, parent.shape)
    if gradient.dtype != parent.dtype:
        _refuse_complex(primitive, gradient, parent)
        gradient = gradient.astype(parent.dtype)
    return gradient


def _refuse_complex(primitive: Primitive, gradient: Any, parent: Entry) -> None:
    """Rules do not conjugate: a complex gradient may have the wrong sign."""
    if gradient.dtype.kind == "c" and parent.dtype.kind != "c":
        raise TypeError(
            f"{primitive.name} made complex numbers of a tensor that requires "
            "gradients: only real numbers have them here, and this gradient would be "
            "wrong. Compute with the real and the imaginary parts as two tensors, or "
            "on x.detach()."
        )


def _copy(gradient: Any) -> Any:
    return gradient if isinstance(gradient, TensorBase) else gradient.copy()


def _filled(gradients: list[Any], whole: Entry) -> list[Any]:
    """Zeros for the items of a whole that no gradient reached."""
    model = next(g for g in gradients if g is not None)
    return [
        full_like(model, value=0, shape=shape) if g is None else g
        for g, shape in zip(gradients, whole.shape, strict=True)
    ]


def _run_hooks(entry: Entry, g: Any) -> Any:
    """Show a copy of the gradient to each hook, which may return another one."""
    for hook in (entry.notes or {}).get("hooks", ()):
        replaced: Any = hook(g if isinstance(g, TensorBase) else wrap(g.copy()))
        if replaced is None:
            continue
        if not (isinstance(replaced, TensorBase) or is_array(replaced)):
            raise TypeError(
                f"a gradient hook on {entry.name} returned a "
                f"{type(replaced).__name__}: only a Tensor can stand for a gradient. "
                "Return a Tensor, or None to leave the gradient as it is."
            )
        replaced = replaced if isinstance(replaced, TensorBase) else wrap(replaced)
        if tuple(replaced.shape) != tuple(entry.shape):
            raise ValueError(
                f"a gradient hook on {entry.name} returned shape {replaced.shape}, but "
                f"the gradient has shape {entry.shape}. Return a Tensor of that shape, "
                "or None to leave the gradient as it is."
            )
        if replaced.dtype != entry.dtype:
            replaced = replaced.astype(entry.dtype)
        g = replaced if isinstance(g, TensorBase) else replaced.array
    return g


@primitive()
def full_like(a: Any, *, value: float, shape: Any = None) -> Any:
    """An array that holds `value` everywhere, with the dtype and device of `a`."""
    return np.full_like(a, value, shape=shape)


# -- starting ----------------------------------------------------------------------


def backward(
    output: TensorBase, grad_output: Any = None, retain_graph: bool = False
) -> None:
    """Add d(output)/d(leaf), times `grad_output`, to the `.grad` of every leaf.

    Raises:
        RuntimeError: the output was not recorded, or its tape was freed already.
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
    backward_pass = BackwardPass(retain_graph=retain_graph, into_leaves=True)
    backward_pass.start(output.entry, seed)
    backward_pass.run()


def seed_of(output: Any, grad_output: Any) -> Any:
    """The gradient that the pass starts from: ones for a scalar, or what was given."""
    if grad_output is None:
        if output.array.size != 1:
            raise ValueError(
                f"the gradient of a tensor of shape {output.array.shape} needs a "
                "starting gradient: only a single number has one by itself. Reduce it "
                "first, for example with .sum(), or pass grad_output=."
            )
        return full_like(output.array, value=1)
    seed: Any = grad_output
    if not isinstance(grad_output, TensorBase):
        listed = None if is_array(grad_output) else output.array.dtype
        seed = to_device(plain_array(grad_output, listed), device_of(output.array))
    if seed.shape != output.array.shape:
        raise ValueError(
            f"grad_output has shape {tuple(seed.shape)}, but the output has shape "
            f"{output.array.shape}: they must be equal. Broadcast or reshape it first."
        )
    if seed.dtype != output.array.dtype:
        seed = seed.astype(output.array.dtype)
    return seed
