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
from minigrad.ops.shape import reshape, stack
from minigrad.random import default_generator
from minigrad.tape import (
    Entry,
    Item,
    Recorded,
    Scope,
    Walk,
    freed_error,
    new_leaf,
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
    single = isinstance(inputs, Tensor)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, tensor in enumerate(wanted):
        if tensor.entry is None:
            raise TypeError(
                f"input {i} of grad does not require gradients, so nothing was "
                "recorded "
                "for it. Make it with requires_grad=True before computing the output."
            )
    found = _walk_to(output, wanted, grad_output, create_graph, retain_graph)
    return found[0] if single else found


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
    return found if isinstance(found, Tensor) else wrap(found)


def value_and_grad(f: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Any]]:
    """The function that returns ``f(*args)`` and its gradients for all of `args`.

    The gradients come alone for one argument and as a list for several. Arguments are
    Tensors or arrays of floats; `f` returns a single number.
    """

    @functools.wraps(f)
    def wrapped(*args: Any) -> tuple[Tensor, Any]:
        inputs = [_fresh_leaf(x) for x in args]
        with Scope(enabled=True):
            output = f(*inputs)
        gradients = grad(output, inputs)
        return output.detach(), gradients[0] if len(inputs) == 1 else gradients

    return wrapped


def _fresh_leaf(x: Any) -> Tensor:
    array = x.array if isinstance(x, Tensor) else as_array(x)
    return wrap(array, new_leaf(array))


def _alive(x: Any) -> Tensor:
    """`x` itself where it is being recorded, a fresh leaf otherwise."""
    return x if isinstance(x, Tensor) and x.entry is not None else _fresh_leaf(x)


def vjp(f: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Callable[[Any], Any]]:
    """f(*inputs), and the function that multiplies a cotangent by the Jacobian.

    Returns:
        The output, and pull(cotangent) -> list of J^T cotangent, one an input.
    """
    leaves = [_fresh_leaf(x) for x in inputs]
    with Scope(enabled=True):
        output = f(*leaves)

    def pull(cotangent: Any) -> list[Tensor]:
        return grad(output, leaves, cotangent, retain_graph=True)

    return output.detach(), pull


def jvp(
    f: Callable[..., Tensor], inputs: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    """f(*inputs) and the Jacobian times `tangents`: forward mode from two backwards.

    J^T u is linear in u, so the gradient of <J^T u, v> with respect to u is J v.

    Source: J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
    """
    leaves = [_fresh_leaf(x) for x in inputs]
    with Scope(enabled=True):
        output = f(*leaves)
        u = _fresh_leaf(np.zeros_like(output.array))
        pulled = grad(output, leaves, u, create_graph=True)
        products = [sum(multiply(p, t)) for p, t in zip(pulled, tangents, strict=True)]
        total = functools.reduce(lambda a, b: a + b, products)
    return output.detach(), grad(total, u)


def hvp(f: Callable[[Any], Tensor], x: Any, v: Any) -> Tensor:
    """The Hessian of scalar `f` at `x`, times `v`, in the time of a few gradients."""
    x = _alive(x)
    with Scope(enabled=True):
        slope = grad(f(x), x, create_graph=True)
        return grad(sum(multiply(slope, v)), x)


def hessian(f: Callable[[Any], Tensor], x: Any) -> Tensor:
    """All second derivatives of scalar `f` at `x`.

    Shapes:
        x of shape s -> (*s, *s): one backward a row.
    """
    x = _alive(x)
    with Scope(enabled=True):
        slope = grad(f(x), x, create_graph=True)
        flat = reshape(slope, shape=(-1,))
        rows = [grad(flat[i], x, retain_graph=True) for i in range(x.array.size)]
    shape = (*x.array.shape, *x.array.shape)
    return functions.zeros(shape, x.dtype) if not rows else stack(rows).reshape(shape)


# -- memory for time ---------------------------------------------------------------


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, but its stretch of the tape is dropped and recorded again by backward.

    The arrays inside `f` live only while they are used, at the price of running `f`
    twice. `f` takes Tensors and returns a Tensor or a tuple of them, and draws random
    numbers from the default generator only, so that it draws the same ones again.

    Source: T. Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """

    @functools.wraps(f)
    def wrapped(*operands: Any) -> Any:
        if not recording.enabled:
            return f(*operands)
        state = default_generator.get_state()
        outputs = f(*operands)
        several = isinstance(outputs, tuple)
        parts = list(outputs) if several else [outputs]
        if all(part.entry is None for part in parts):
            return outputs
        stretch = Stretch(f, operands, state, [part.array for part in parts])
        dropped = [
            wrap(part.array, part.entry and Item(stretch, i, part.array))
            for i, part in enumerate(parts)
        ]
        return tuple(dropped) if several else dropped[0]

    return wrapped


class Stretch(Entry):
    """The entry of a dropped stretch: enough to record it once more."""

    __slots__ = ("function", "state")

    name = "checkpoint"

    def __init__(
        self,
        function: Callable[..., Any],
        operands: Sequence[Any],
        state: dict[str, Any],
        arrays: list[Any],
    ) -> None:
        kept = tuple(x.array if isinstance(x, Tensor) else x for x in operands)
        parents = tuple(x.entry if isinstance(x, Tensor) else None for x in operands)
        shapes: Any = tuple(array.shape for array in arrays)
        super().__init__(None, parents, kept, None, {}, shapes, arrays[0].dtype)
        self.function = function
        self.state = state

    def propagate(self, gradients: list[Any], owned: bool, walk: Walk) -> None:
        """Record the stretch again; the walk goes on through the new entries."""
        if self.parents is None:
            raise freed_error(self)
        writes.check(self)
        outputs = self._run_again()
        for output, gradient in zip(outputs, gradients, strict=True):
            if gradient is not None and output.entry is not None:
                walk.start(output.entry, gradient)
        if not walk.retain_graph:
            self.release()

    def _run_again(self) -> tuple[Any, ...]:
        operands = Recorded(self).operands
        now = default_generator.get_state()
        default_generator.set_state(self.state)
        try:
            with Scope(enabled=True):
                outputs = self.function(*operands)
        finally:
            default_generator.set_state(now)
        return outputs if isinstance(outputs, tuple) else (outputs,)
