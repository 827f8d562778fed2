"""The function that is checked, on arrays and on leaves, and its gradient.

`Function` runs the user's `f`, drawing the same random numbers each time; `Derived` is
its gradient, which is a function of the same operands again. Neither uses a recorded
operation of its own: a wrong rule cannot hide in the checker.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from minigrad import backend
from minigrad.random import watch_draws
from minigrad.tape import BackwardPass, Call, Leaf, Observer, Scope, array_of, wrap
from minigrad.tensor import Tensor
from minigrad.testing.oracles import Arrays


class Constant:
    """An operand that is not differentiated: `f` gets it as an array."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __repr__(self) -> str:
        return f"Constant({self.array!r})"


class Function:
    """`f` with its operands: which of them are differentiated, on which device.

    Floats are differentiated, in float64; integers, booleans and `Constant`s are not.
    Messages call it `name`, and `seed` is that of its cotangents.
    """

    recorded = True  # its calls can be looked at
    says = "the tape says"
    way_out = (
        "No primitive of it is wrong alone: look for detach(), .data or .item() "
        "in it, or for an array that is changed in place."
    )

    def __init__(
        self,
        f: Callable[..., Any],
        operands: Sequence[Any],
        device: str = "cpu",
        name: str | None = None,
        seed: int = 0,
    ) -> None:
        self.f = f
        self.device = device
        self.name = name or str(getattr(f, "__name__", "the function"))
        self.seed = seed
        self.constants: dict[int, np.ndarray] = {}
        self.operands: Arrays = []
        self.places: list[int] = []  # of the differentiated operands among all
        self.names: dict[int, str] = {}  # of operands that messages name, by place
        for place, operand in enumerate(operands):
            self._add(place, operand)
        self.states: dict[Any, Any] = {}
        with watch_draws() as states:
            self(self.tensors(self.operands))
        self.states = dict(states)

    def _add(self, place: int, operand: Any) -> None:
        if isinstance(operand, Tensor):
            operand = operand.numpy()
        if isinstance(operand, Constant):
            self.constants[place] = operand.array
        elif isinstance(operand, np.ndarray) and operand.dtype.kind in "iub":
            self.constants[place] = operand
        else:
            self.operands.append(np.array(operand, np.float64))
            self.places.append(place)

    def at(self, operands: Sequence[np.ndarray]) -> Self:
        """The same function with other values for the differentiated operands."""
        there = copy.copy(self)
        there.operands = [np.asarray(a) for a in operands]
        return there

    def put(self, array: np.ndarray) -> Any:
        """The array on the device that is checked."""
        return backend.to_device(array, self.device)

    def tensors(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """Plain Tensors for the differentiated operands."""
        return [wrap(self.put(array)) for array in arrays]

    def leaves(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """Leaves for the differentiated operands; complex ones too."""
        return [as_leaf(tensor) for tensor in self.tensors(arrays)]

    def __call__(self, inputs: Sequence[Any]) -> list[Tensor]:
        """The outputs, drawing the random numbers of the first run again."""
        for generator, state in self.states.items():
            generator.set_state(state)
        return checked_outputs(self.f(*self.filled(inputs)))

    def filled(self, inputs: Sequence[Any]) -> list[Any]:
        """All operands in their places, the constants among them."""
        places = dict(zip(self.places, inputs, strict=True))
        places |= {place: self.put(a) for place, a in self.constants.items()}
        return [places[place] for place in sorted(places)]

    def on_arrays(self, arrays: Sequence[np.ndarray]) -> Arrays:
        """The outputs' values, as NumPy arrays: what an oracle differentiates."""
        return [y.numpy() for y in self(self.tensors(arrays))]

    def draw_cotangents(
        self, random: np.random.Generator, outputs: Sequence[np.ndarray]
    ) -> Arrays:
        """Random ones for these outputs."""
        return random_like(random, outputs)

    def gradients(self, cotangents: Sequence[np.ndarray]) -> tuple[Arrays, float]:
        """The gradients, and the largest number that is met on the way to them."""
        leaves = self.leaves(self.operands)
        with Scope(observer=Largest()) as seen:
            gradients = pull(self(leaves), leaves, cotangents)
        largest = max([seen.size, *(np.abs(c).max(initial=1.0) for c in cotangents)])
        return [g.numpy() for g in gradients], largest


def checked_outputs(outputs: Any) -> list[Tensor]:
    """The outputs as a list, without those that have no derivative (integers)."""
    parts = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    for part in parts:
        if not isinstance(part, Tensor):
            raise TypeError(
                f"the function to check returned {type(part).__name__}, but must "
                "return a Tensor, or a list or tuple of them. A .item() or .numpy() on "
                "the way loses the gradient."
            )
    return [part for part in parts if part.dtype.kind in "fc"]


def random_like(random: np.random.Generator, arrays: Sequence[np.ndarray]) -> Arrays:
    """Random numbers of both signs from 0.5 to 1.5: each element counts."""
    signs = [random.choice([-1.0, 1.0], a.shape) for a in arrays]
    return [np.asarray(s * random.uniform(0.5, 1.5, s.shape)) for s in signs]


def as_leaf(tensor: Tensor) -> Tensor:
    """A leaf with the same array."""
    return wrap(tensor.array, Leaf(tensor.array.shape, tensor.array.dtype))


class Derived(Function):
    """The gradients of <cotangents, f> as a function of f's operands."""

    def __init__(self, of: Function, cotangents: Arrays) -> None:
        self.of = of
        self.cotangents = cotangents
        self.operands = of.operands
        self.device = of.device
        self.seed = of.seed

    def __call__(self, inputs: Sequence[Any]) -> list[Tensor]:
        """The gradients, recorded."""
        live = [x if x.entry is not None else as_leaf(x) for x in inputs]
        with Scope(enabled=True):
            outputs = self.of(live)
        return pull(outputs, live, self.cotangents, create_graph=True)


def pull(
    outputs: Sequence[Tensor],
    leaves: Sequence[Tensor],
    cotangents: Sequence[Any],
    create_graph: bool = False,
) -> list[Tensor]:
    """J^T c by one backward pass from all outputs; zeros where it does not lead.

    Cotangents are arrays or, with `create_graph`, Tensors to differentiate by.
    """
    entries: list[Any] = [leaf.entry for leaf in leaves]
    backward_pass = BackwardPass(create_graph, retain_graph=True, wanted=entries)
    with Scope(enabled=True if create_graph else None):
        for output, cotangent in zip(outputs, cotangents, strict=True):
            if output.entry is not None:
                backward_pass.start(output.entry, _like(cotangent, output))
        backward_pass.run()
    found = [backward_pass.found.get(entry.order) for entry in entries]
    pairs = zip(found, leaves, strict=True)
    gradients = [np.zeros_like(leaf.array) if g is None else g for g, leaf in pairs]
    return [g if isinstance(g, Tensor) else wrap(g) for g in gradients]


def _like(cotangent: Any, output: Tensor) -> Tensor:
    """The cotangent as a Tensor with the output's dtype, on its device."""
    if isinstance(cotangent, Tensor):
        return cotangent
    array = backend.to_device(np.asarray(cotangent), output.device)
    return wrap(array.astype(output.dtype))


class Largest(Observer):
    """An observer of the largest number that is computed, and of how many operations.

    Round-offs are relative to the one and add up with the other.
    """

    def __init__(self) -> None:
        self.size = 1.0
        self.count = 0

    def _see(self, value: Any) -> None:
        magnitude = np.abs(backend.to_numpy(backend.as_result(array_of(value))))
        finite = magnitude[np.isfinite(magnitude)]  # what is not would excuse all
        self.size = max(self.size, float(finite.max(initial=0.0)))

    def called(self, call: Call, entry: Any, seconds: float) -> None:
        """Look at the outputs."""
        self.count += 1
        for output in call.results if call.primitive.many else call.results[:1]:
            self._see(output)

    def differentiated(self, entry: Any, g: Any, handed: Any, seconds: float) -> None:
        """Look at the gradients that an entry hands on."""
        self.count += 1
        for _, gradient in handed:
            self._see(gradient)
