"""What can be asked of the tape?  Gradients of every kind, and less memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import functions
from minigrad.backend import as_array
from minigrad.ops.elementwise import multiply
from minigrad.ops.reduce import sum
from minigrad.ops.shape import reshape, stack, unstack
from minigrad.random import Generator, watch_draws
from minigrad.tape import (
    Entry,
    Item,
    Leaf,
    Scope,
    Walk,
    check_differentiable,
    freed_error,
    recording,
    seed_of,
    wrap,
    writes,
)
from minigrad.tensor import Tensor


def grad(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    grad_output: Any = None,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Any:
    """d(output)/d(input) times `grad_output`, for one input or a list of them.

    Nothing is added to any `.grad`. An input that the output does not reach gets
    zeros. With ``create_graph=True`` the gradients are recorded too, so that they have
    gradients of their own.

    Raises:
        TypeError: an input does not require gradients.
        RuntimeError: the output's tape was walked already.
    """
    several = isinstance(inputs, list | tuple)
    wanted: list[Any] = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    for i, tensor in enumerate((output, *wanted), start=-1):
        if not isinstance(tensor, Tensor):
            raise _no_tensor(tensor, i)
        if i >= 0 and tensor.entry is None:
            raise TypeError(
                f"input {i} of grad does not require gradients: nothing was recorded "
                "for it. Make it with requires_grad=True before computing the output."
            )
    found = _walk_to(output, wanted, grad_output, create_graph, retain_graph)
    return found if several else found[0]


def _no_tensor(value: Any, i: int) -> TypeError:
    what = "the output" if i < 0 else f"input {i}"
    way_out = "made with requires_grad=True, from which the output was computed"
    if i < 0:
        way_out = "that was computed, not its .item()"
    return TypeError(
        f"{what} of grad is of type {type(value).__name__}: only a Tensor has an entry "
        f"on the tape, and nothing was recorded for this. Pass the Tensor {way_out}."
    )


def _walk_to(
    output: Tensor,
    wanted: Sequence[Tensor],
    grad_output: Any,
    create_graph: bool,
    retain_graph: bool,
) -> list[Tensor]:
    entries = [tensor.entry for tensor in wanted if tensor.entry is not None]
    walk = Walk(create_graph, retain_graph, wanted=entries)
    if output.entry is not None and entries:
        seed = seed_of(output, grad_output)
        if create_graph:
            seed = seed if isinstance(seed, Tensor) else wrap(seed)
        else:
            seed = seed.array if isinstance(seed, Tensor) else seed
        with Scope(enabled=True if create_graph else None):
            walk.start(output.entry, seed)
            walk.run()
    return [_found(walk, tensor) for tensor in wanted]


def _found(walk: Walk, tensor: Tensor) -> Tensor:
    found: Any = walk.found.get(tensor.entry.order) if tensor.entry else None
    if found is None:
        return wrap(np.zeros_like(tensor.array))
    # A copy, since an input may be asked for twice.
    return found if isinstance(found, Tensor) else wrap(found.copy())


class Argument(Leaf):
    """The leaf that a transform makes for an argument of the function it transforms."""

    __slots__ = ()


def _arguments(inputs: Sequence[Any]) -> tuple[list[Tensor], bool]:
    """The tensors to differentiate by, and whether somebody differentiates further.

    An argument that was computed, or that is another transform's, stays connected, and
    results are recorded: transforms nest. A leaf of the user's is a constant here.
    """
    entries = [x.entry for x in inputs if isinstance(x, Tensor)]
    nested = any(entry is not None and type(entry) is not Leaf for entry in entries)
    live = [_on_top(x) if nested and _is_live(x) else _fresh_leaf(x) for x in inputs]
    return live, nested


def _on_top(x: Tensor) -> Tensor:
    """`x` under an entry of its own: its other uses are no business of the function."""
    return reshape(x, shape=x.array.shape)


def _is_live(x: Any) -> bool:
    return isinstance(x, Tensor) and x.entry is not None


def _fresh_leaf(x: Any) -> Tensor:
    array = x.array if isinstance(x, Tensor) else as_array(x)
    check_differentiable(array)
    return wrap(array, Argument(array.shape, array.dtype))


def value_and_grad(f: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Any]]:
    """The function that returns ``f(*args)`` and its gradients for all of `args`.

    The gradients come alone for one argument and as a list for several. Arguments are
    Tensors or arrays of floats; `f` returns a single number.
    """

    @functools.wraps(f)
    def wrapped(*args: Any) -> tuple[Tensor, Any]:
        inputs, nested = _arguments(args)
        with Scope(enabled=True):
            output = f(*inputs)
        gradients = grad(output, inputs, create_graph=nested)
        value = output if nested else output.detach()
        return value, gradients[0] if len(inputs) == 1 else gradients

    return wrapped


def vjp(f: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Callable[[Any], Any]]:
    """f(*inputs), and the function that multiplies a cotangent by the Jacobian.

    Returns:
        The output, and pull(cotangent) -> list of J^T cotangent, one an input.
    """
    leaves, nested = _arguments(inputs)
    with Scope(enabled=True):
        output = f(*leaves)

    def pull(cotangent: Any) -> list[Tensor]:
        return grad(output, leaves, cotangent, nested, retain_graph=True)

    return (output if nested else output.detach()), pull


def jvp(
    f: Callable[..., Tensor], inputs: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    """f(*inputs) and the Jacobian times `tangents`: forward mode from two backwards.

    J^T u is linear in u, so the gradient of <J^T u, v> with respect to u is J v.

    Raises:
        ValueError: a tangent's shape is not its input's.

    Source: J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
    """
    leaves, nested = _arguments(inputs)
    for leaf, tangent in zip(leaves, tangents, strict=True):
        _check_direction("jvp", leaf, tangent)
    with Scope(enabled=True):
        output = f(*leaves)
        u = _fresh_leaf(np.zeros_like(output.array))
        pulled = grad(output, leaves, u, create_graph=True)
        products = [sum(multiply(p, t)) for p, t in zip(pulled, tangents, strict=True)]
        total = functools.reduce(lambda a, b: a + b, products)
    pushed = grad(total, u, create_graph=nested)
    return (output if nested else output.detach()), pushed


def _check_direction(name: str, x: Tensor, direction: Any) -> None:
    if np.shape(direction) != x.array.shape:
        raise ValueError(
            f"{name} got a direction of shape {np.shape(direction)} for an input of "
            f"shape {x.array.shape}: it says how each element moves, so the shapes "
            "must be equal. Broadcast or reshape the direction first."
        )


def hvp(f: Callable[[Any], Tensor], x: Any, v: Any) -> Tensor:
    """The Hessian of scalar `f` at `x`, times `v`, in the time of a few gradients.

    Raises:
        ValueError: the shape of `v` is not that of `x`.
    """
    (x,), nested = _arguments([x])
    _check_direction("hvp", x, v)
    with Scope(enabled=True):
        slope = grad(f(x), x, create_graph=True)
        product = sum(multiply(slope, v))
    return grad(product, x, create_graph=nested)


def hessian(f: Callable[[Any], Tensor], x: Any) -> Tensor:
    """All second derivatives of scalar `f` at `x`.

    Shapes:
        x of shape s -> (*s, *s): one backward a row.
    """
    (x,), nested = _arguments([x])
    shape = (*x.array.shape, *x.array.shape)
    if x.array.size == 0:
        return functions.zeros(shape, x.dtype)
    with Scope(enabled=True):
        slope = grad(f(x), x, create_graph=True)
        flat = unstack(reshape(slope, shape=(-1,)))
        rows = [grad(s, x, create_graph=nested, retain_graph=True) for s in flat]
        return reshape(stack(rows), shape=shape)


# -- memory for time ---------------------------------------------------------------


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, but its stretch of the tape is dropped and recorded again by backward.

    The arrays inside `f` live only while they are used, at the price of running `f`
    twice. `f` returns a Tensor or several. The generators that it draws from draw the
    same numbers again (do not draw from them in another thread meanwhile).

    Raises:
        RuntimeError: in backward, when what `f` reads was changed in place meanwhile.

    Source: T. Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """

    @functools.wraps(f)
    def wrapped(*operands: Any, **settings: Any) -> Any:
        function = functools.partial(f, **settings) if settings else f
        if not recording.enabled:
            return function(*operands)
        with watch_draws() as states:
            outputs = function(*operands)
        several = isinstance(outputs, tuple | list)
        parts = list(outputs) if several else [outputs]
        if all(part.entry is None for part in parts):
            return outputs
        stretch = Stretch(function, operands, states, [part.array for part in parts])
        dropped = [
            wrap(part.array, part.entry and Item(stretch, i, part.array))
            for i, part in enumerate(parts)
        ]
        return type(outputs)(dropped) if several else dropped[0]

    return wrapped


class Stretch(Entry):
    """The entry of a dropped stretch: enough to record it once more."""

    __slots__ = ("function", "states", "tensors")

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
        super().__init__(None, parents, kept, None, {}, shapes, arrays[0].dtype)
        self.function = function
        self.states = states
        self.tensors = tuple(isinstance(x, Tensor) for x in operands)

    def propagate(self, gradients: list[Any], owned: bool, walk: Walk) -> None:
        """Record the stretch again; the walk goes on through the new entries."""
        if self.parents is None:
            raise freed_error(self)
        writes.check(self)
        outputs = self._run_again()
        for output, gradient in zip(outputs, gradients, strict=True):
            if gradient is not None and output.entry is not None:
                self._check_again(output.entry)
                walk.start(output.entry, gradient)
        if not walk.retain_graph:
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

    def _check_again(self, newest: Entry) -> None:
        """Refuse arrays that `f` reads from elsewhere and that were written since."""
        if writes.last < self.order:
            return
        seen: set[int] = set()
        waiting = [newest]
        while waiting:
            entry = waiting.pop()
            if entry.order in seen or entry.order < self.order:
                continue
            seen.add(entry.order)
            writes.check(entry, since=self.order)
            waiting.extend(parent for parent in entry.parents if parent is not None)


def _set_states(states: dict[Generator, dict[str, Any]]) -> None:
    for generator, state in states.items():
        generator.set_state(state)
