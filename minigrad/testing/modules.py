"""Layers: their gradients by their inputs and by all of their parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.tape import array_of
from minigrad.tensor import Tensor
from minigrad.testing.checker import check_everything
from minigrad.testing.function import Function


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
    parameters = dict(module.named_parameters())

    def f(*operands: Any) -> list[Tensor]:
        keys = map(id, parameters.values())
        with _replaced(module, dict(zip(keys, operands[len(inputs) :], strict=True))):
            return list(_flat(_call(module, method, operands[: len(inputs)])))

    arrays = [*inputs, *(parameter.numpy() for parameter in parameters.values())]
    name = f"{type(module).__name__} and its parameters"
    function = Function(f, arrays, device, name, seed)
    function.names = dict(enumerate(parameters, start=len(inputs)))
    check_everything(function, order, special)


def _call(module: Any, method: str | None, inputs: Sequence[Any]) -> Any:
    if method is not None:
        return getattr(module, method)(*inputs)
    try:
        return module(*inputs)
    except NotImplementedError as error:
        raise TypeError(
            f"{type(module).__name__} has no forward to be checked. Name the method to "
            "check instead: check_module(model, *inputs, method='loss')."
        ) from error


@contextlib.contextmanager
def _replaced(module: Any, stand_ins: dict[int, Any]) -> Iterator[None]:
    """Let other Tensors stand where the module has its parameters, for a while.

    Afterwards all of its attributes are what they were, their contents too.
    """
    owners = [vars(owner) for _, owner in module.named_modules()]
    values = [x for attributes in owners for x in (attributes, *attributes.values())]
    held = {id(x): array_of(x) for x in values}.values()
    contents = [(x, x.copy()) for x in held if isinstance(x, REMEMBERING)]
    try:
        for attributes in owners:
            for name, value in attributes.items():
                attributes[name] = stand_ins.get(id(value), value)
        yield
    finally:
        for value, content in contents:
            _refill(value, content)


REMEMBERING = (np.ndarray, list, dict, set)


def _refill(value: Any, content: Any) -> None:
    """Give a container the content that it had."""
    if isinstance(value, np.ndarray):
        if not np.array_equal(value, content):
            value[...] = content
        return
    value.clear()
    (value.extend if isinstance(value, list) else value.update)(content)


def _flat(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, list | tuple):
        for output in outputs:
            yield from _flat(output)
    else:
        yield outputs
