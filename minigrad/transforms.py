"""Function transforms: gradients of every kind, which compose."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.checkpointing import is_live, reaches_older
from minigrad.creation import zeros
from minigrad.ops.elementwise import multiply
from minigrad.ops.reduce import sum
from minigrad.ops.shape import reshape, stack, unstack
from minigrad.tape import (
    BackwardPass,
    Entry,
    Item,
    Leaf,
    Scope,
    array_of,
    check_differentiable,
    freed_error,
    full_like,
    next_order,
    plain_array,
    recording,
    seed_of,
    wrap,
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
        RuntimeError: the output's tape was freed already.
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
    found = _gradients(output, wanted, grad_output, create_graph, retain_graph)
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


def _gradients(
    output: Tensor,
    wanted: Sequence[Tensor],
    grad_output: Any,
    create_graph: bool,
    retain_graph: bool,
) -> list[Tensor]:
    entries = [tensor.entry for tensor in wanted if tensor.entry is not None]
    backward_pass = BackwardPass(create_graph, retain_graph, wanted=entries)
    if output.entry is not None and entries:
        seed = seed_of(output, grad_output)
        with Scope(enabled=True if create_graph else None):
            backward_pass.start(output.entry, seed)
            backward_pass.run()
    return [_found(backward_pass, tensor) for tensor in wanted]


def _found(backward_pass: BackwardPass, tensor: Tensor) -> Tensor:
    """What the backward pass found for a tensor, in an array that nobody else holds."""
    found: Any = backward_pass.found.get(tensor.entry.order) if tensor.entry else None
    if found is None:
        return full_like(tensor.detach(), value=0)
    if recording.on_tensors:
        return found  # no array may appear that no call has made
    if isinstance(found, Tensor):
        return wrap(found.array.copy(), found.entry)
    return wrap(found.copy())


# -- transforms of functions -------------------------------------------------------


class Argument(Leaf):
    """The leaf that a transform makes for an argument of the function it transforms."""

    __slots__ = ()


class Depth(threading.local):
    """How many transforms' functions this thread is inside of."""

    value = 0


depth = Depth()


class Differentiated:
    """One run of a transformed function, to be differentiated by its inputs.

    Gradients may come in through more than the arguments: through tensors that the
    function finds in its closure, through cotangents, tangents and directions. Where
    any can, results are recorded, so that transforms compose: inside of another
    transform at once, for that one will differentiate them, and elsewhere when somebody
    does (`Deferred`), since most are used as plain numbers. Inside ``no_grad()``
    results are plain numbers, and the backward pass frees the tape as it goes.

    Args:
        name: of the transform, for messages.
        others: cotangents, tangents, directions: what gradients can come through.
    """

    def __init__(
        self, name: str, f: Callable[..., Any], inputs: Sequence[Any], *others: Any
    ) -> None:
        wanted = recording.enabled  # whether anybody outside may differentiate
        self.inputs = [_argument(x, wanted) for x in inputs]
        depth.value += 1
        try:
            with Scope(enabled=True):
                self.output = f(*self.inputs)
        finally:
            depth.value -= 1
        _check_output(name, f, self.output)
        reached = wanted and self._reaches_more()
        self.carries = reached or (wanted and any(map(is_live, others)))

    def _reaches_more(self) -> bool:
        """Whether the output depends on more than what was made for the arguments."""
        entries = [x.entry for x in self.inputs if x.entry is not None]
        first = entries[0].order if entries else next_order()
        return reaches_older([self.output], first)

    def gradients(
        self,
        output: Tensor,
        inputs: Sequence[Tensor],
        seed: Any = None,
        retain_graph: bool = False,
    ) -> list[Tensor]:
        """The gradients of `output`, recorded if more than the inputs came in."""
        carries = self.carries or (recording.enabled and is_live(seed))
        if carries and not depth.value:
            return _deferred(output, inputs, seed)
        return grad(output, inputs, seed, carries, retain_graph)

    def value(self) -> Tensor:
        """The output; without history, and in memory of its own, if it is plain."""
        if self.carries:
            return self.output
        entry, array = self.output.entry, self.output.array
        fresh = entry is not None and not isinstance(entry, Leaf)
        return wrap(array if fresh and array.base is None else array.copy())


def _argument(x: Any, wanted: bool) -> Tensor:
    """A tensor to differentiate by, on top of `x` where that is on a tape."""
    if wanted and is_live(x):
        # Under an entry of its own: x's other uses are no business of the function.
        return reshape(x, shape=x.array.shape)
    array = array_of(x) if isinstance(x, Tensor) else plain_array(x)
    check_differentiable(array)
    return wrap(array, Argument(array.shape, array.dtype))


def _check_output(name: str, f: Callable[..., Any], output: Any) -> None:
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{name} got a {type(output).__name__} from "
            f"{getattr(f, '__name__', 'the function')}: it differentiates one Tensor. "
            "Return the Tensor that was computed (stack or concatenate several), not "
            "its .numpy(), .item() or a tuple."
        )


def _deferred(output: Tensor, inputs: Sequence[Tensor], seed: Any) -> list[Tensor]:
    """Gradients as numbers, which are recorded when somebody differentiates them."""
    if not inputs:
        return []
    found = grad(output, inputs, seed, retain_graph=True)
    entry = Deferred(output, inputs, seed, found)
    return [wrap(g.array, Item(entry, i, g.array)) for i, g in enumerate(found)]


class Deferred(Entry):
    """Gradients whose backward pass is recorded only when they are differentiated.

    A recorded backward pass takes about half as much time again as a plain one; what is
    kept for it is the tape that was there anyway.
    """

    __slots__ = ("inputs", "seed", "source")

    name = "gradient"

    def __init__(
        self,
        source: Tensor,
        inputs: Sequence[Tensor],
        seed: Any,
        found: Sequence[Tensor],
    ) -> None:
        parents = (source.entry, seed.entry if isinstance(seed, Tensor) else None)
        shapes: Any = tuple(g.array.shape for g in found)
        super().__init__(None, parents, (), (), {}, shapes, found[0].array.dtype)
        self.source = source
        self.inputs = inputs
        self.seed = seed

    def propagate(self, gradients: list[Any], owned: bool, backward_pass: Any) -> None:
        """Record the pass; the one under way goes on through the new entries."""
        if self.parents is None:
            raise freed_error(self)
        recorded = grad(self.source, self.inputs, self.seed, create_graph=True)
        for output, gradient in zip(recorded, gradients, strict=True):
            if gradient is not None and output.entry is not None:
                backward_pass.start(output.entry, gradient)
        if not backward_pass.retain_graph:
            self.release()


def value_and_grad(f: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Any]]:
    """The function that returns ``f(*args)`` and its gradients for all of `args`.

    The gradients come alone for one argument and as a list for several. Arguments are
    Tensors or arrays of floats; `f` returns a single number. Like those of all
    transforms, results can be differentiated further wherever a gradient came in.
    """

    @functools.wraps(f)
    def wrapped(*args: Any) -> tuple[Tensor, Any]:
        run = Differentiated("value_and_grad", f, args)
        gradients = run.gradients(run.output, run.inputs)
        return run.value(), gradients[0] if len(args) == 1 else gradients

    return wrapped


def vjp(f: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Callable[[Any], Any]]:
    """f(*inputs), and the function that multiplies a cotangent by the Jacobian.

    Returns:
        The output, and vjp_of(cotangent) -> list of J^T cotangent, one an input.
    """
    _check_separate("vjp", inputs)
    run = Differentiated("vjp", f, inputs)

    def vjp_of(cotangent: Any) -> list[Tensor]:
        return run.gradients(run.output, run.inputs, cotangent, retain_graph=True)

    return run.value(), vjp_of


def _check_separate(name: str, inputs: Sequence[Any]) -> None:
    for x in inputs:
        if isinstance(x, tuple | list) and any(np.ndim(part) for part in x):
            raise TypeError(
                f"{name} got a {type(x).__name__} of arrays for one input: inputs are "
                f"Tensors or arrays, each by itself. Write {name}(f, x, y) for a "
                "function of two."
            )


def jvp(
    f: Callable[..., Tensor], inputs: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    """f(*inputs) and the Jacobian times `tangents`, which is forward mode.

    J^T u is linear in u, so the gradient of <J^T u, v> with respect to u is J v.

    Raises:
        TypeError: inputs or tangents are no lists.
        ValueError: a tangent's shape is not its input's.

    Source: J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
    """
    _check_lists(inputs, tangents)
    for x, tangent in zip(inputs, tangents, strict=True):
        _check_direction("jvp", x, tangent)
    run = Differentiated("jvp", f, inputs, *tangents)
    with Scope(enabled=True):
        u = _argument(full_like(run.output.detach(), value=0), False)
        pulled = grad(run.output, run.inputs, u, create_graph=True)
        products = [sum(multiply(p, t)) for p, t in zip(pulled, tangents, strict=True)]
        total = functools.reduce(lambda a, b: a + b, products)
    return run.value(), run.gradients(total, [u])[0]


def _check_lists(inputs: Any, tangents: Any) -> None:
    for name, given in (("inputs", inputs), ("tangents", tangents)):
        if not isinstance(given, list | tuple):
            raise TypeError(
                f"jvp takes its {name} as a list, one for each argument of the "
                f"function, not as a {type(given).__name__}. Write jvp(f, [x], [v])."
            )
    if len(inputs) != len(tangents) or not inputs:
        raise ValueError(
            f"jvp got {len(inputs)} inputs and {len(tangents)} tangents: each input "
            "moves along a tangent of its own, and there is one at least. Pass as many "
            "of the one as of the other."
        )


def _check_direction(name: str, x: Any, direction: Any) -> None:
    if np.shape(direction) != np.shape(x):
        raise ValueError(
            f"{name} got a direction of shape {np.shape(direction)} for an input of "
            f"shape {np.shape(x)}: it says how each element moves, so the shapes "
            "must be equal. Broadcast or reshape the direction first."
        )


def hvp(f: Callable[[Any], Tensor], x: Any, v: Any) -> Tensor:
    """The Hessian of scalar `f` at `x`, times `v`, in the time of a few gradients.

    Raises:
        ValueError: the shape of `v` is not that of `x`.
    """
    _check_separate("hvp", [x])
    _check_direction("hvp", x, v)
    run = Differentiated("hvp", f, [x], v)
    with Scope(enabled=True):
        gradient = grad(run.output, run.inputs[0], create_graph=True)
        product = sum(multiply(gradient, v))
    return run.gradients(product, run.inputs)[0]


def hessian(f: Callable[[Any], Tensor], x: Any) -> Tensor:
    """All second derivatives of scalar `f` at `x`.

    Shapes:
        x of shape s -> (*s, *s): one backward pass a row.
    """
    _check_separate("hessian", [x])
    run = Differentiated("hessian", f, [x])
    at = run.inputs[0]
    shape = (*at.array.shape, *at.array.shape)
    if at.array.size == 0:
        return zeros(shape, at.dtype)
    with Scope(enabled=True):
        gradient = grad(run.output, at, create_graph=True)
        flat = unstack(reshape(gradient, shape=(-1,)))
    rows = [run.gradients(part, [at], retain_graph=True)[0] for part in flat]
    return reshape(stack(rows), shape=shape)
