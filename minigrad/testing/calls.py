"""The operations that a function records, each with all it takes to run it alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.tape import Call, Entry, Observer, Primitive, Scope, record
from minigrad.testing.function import Derived, Function
from minigrad.testing.oracles import STEP

LARGEST_SHOWN = 300  # elements: a snippet is to be read


class RecordedCall(Call):
    """A recorded call, to be run and described alone."""

    @property
    def active(self) -> list[int]:
        """The operands that are differentiated: arrays of floats."""
        arrays = [(i, x) for i, x in enumerate(self.operands) if backend.is_array(x)]
        return [i for i, x in arrays if x.dtype == np.float64]

    @property
    def names(self) -> list[str]:
        """What the primitive calls its active operands; "" where it has no name."""
        known = self.primitive.operand_names
        return [known[i] if i < len(known) else "" for i in self.active]

    def name_of(self, which: int) -> str:
        """What messages call an active operand."""
        known, i = self.primitive.operand_names, self.active[which]
        if i < len(known) and not self.primitive.sequence:
            return known[i]
        return f"{known[0] if known else 'operands'}[{i}]"

    def alone(self, within: Function) -> Function:
        """The call as a function of its active operands."""

        def f(*inputs: Any) -> Any:
            operands = list(self.operands)
            for i, x in zip(self.active, inputs, strict=True):
                operands[i] = x
            return record(self.primitive, operands, self.settings)

        active = [on_host(self.operands[i]) for i in self.active]
        return Function(f, active, within.device, within.name, within.seed)

    # -- as source text --

    def source(self) -> str:
        """The call as a lambda of its active operands."""
        given = [literal(x) for x in self.operands]
        names = [f"x{which}" for which in range(len(self.active))]
        for name, i in zip(names, self.active, strict=True):
            given[i] = name
        operands = ", ".join(given)
        operands = f"[{operands}]" if self.primitive.sequence else operands
        settings = "".join(f", {k}={v!r}" for k, v in self.settings.items())
        return f"lambda {', '.join(names)}: {self.primitive.name}({operands}{settings})"

    def origin(self) -> str:
        """The line that imports the primitive, if it can be imported."""
        forward = self.primitive.forward
        module, name = forward.__module__, forward.__qualname__
        if module in (None, "__main__") or not name.isidentifier():
            return f"# {self.primitive.name} is the primitive that was checked"
        return f"from {module} import {name}"

    # -- where there is no derivative --

    def touched(self) -> Iterator[str]:
        """Kinks too close for differences to mean anything, and ends of domains."""
        for name, kinks in self.primitive.kinks.items():
            for kink in kinks:
                if name in self._named and self._distance(name, kink) <= 2 * STEP:
                    yield f"the kink of {name!r} at {kink!r}"
        for name, ends in self.primitive.domain.items():
            for end in ends:
                if np.any(on_host(self._named[name]) == end):
                    at = f"the end {end!r} of the domain of {name!r}"
                    yield f"{at}, where 0 times an infinite derivative is NaN"

    @property
    def _named(self) -> dict[str, Any]:
        return dict(zip(self.primitive.operand_names, self.operands, strict=False))

    def _distance(self, name: str, kink: float | str) -> float:
        own = on_host(self._named[name]).astype(float)  # integers are never infinite
        if kink == name:
            return float(np.diff(np.sort(own, axis=None)).min(initial=np.inf))
        values = {**self.settings, **self._named}
        at = values.get(kink) if isinstance(kink, str) else kink
        if at is None:
            return np.inf
        return float(np.abs(own - on_host(at)).min(initial=np.inf))


def on_host(value: Any) -> np.ndarray:
    """An operand as an array of NumPy's."""
    return backend.to_numpy(value) if backend.is_array(value) else np.asarray(value)


def is_long(value: Any) -> bool:
    """Whether an operand has too many elements to be shown."""
    return backend.is_array(value) and value.size > LARGEST_SHOWN


def literal(value: Any) -> str:
    """An operand as source text, to the last digit; a stand-in if it is too long."""
    if not backend.is_array(value):
        return repr(value)
    array = backend.to_numpy(value)
    dtype = repr(str(array.dtype))
    if is_long(array):
        drawn = f"np.random.default_rng(0).normal(size={array.shape})"
        return drawn if array.dtype.kind == "f" else f"np.zeros({array.shape}, {dtype})"
    if array.size == 0 or array.dtype != np.float64:
        return f"np.array({array.tolist()}, {dtype}).reshape({array.shape})"
    return f"np.array({array.tolist()})"


# -- collecting them ---------------------------------------------------------------


class Collector(Observer):
    """An observer that collects the calls that are recorded."""

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []

    def called(self, call: Call, entry: Entry | None, seconds: float) -> None:
        """Keep a call that has a gradient."""
        if entry is not None:
            self.calls.append(RecordedCall(*call))


def calls_of(function: Function, order: int = 1) -> list[RecordedCall]:
    """All calls that `function` and its derivatives below `order` record."""
    operands = function.operands
    for _ in range(1, order):
        cotangents = [np.ones(y.shape) for y in function.on_arrays(operands)]
        function = Derived(function, cotangents)
    with Scope(enabled=True, observer=Collector()) as collector:
        function(function.leaves(operands))
    return collector.calls


def only_call(function: Function, primitive: Primitive | None) -> RecordedCall | None:
    """The call of a primitive, if `function` is one call of it by all its operands."""
    if primitive is None:
        return None
    calls = [call for call in calls_of(function) if call.primitive is primitive]
    if len(calls) != 1:
        return None
    (call,) = calls
    with_rule = sum(primitive.differentiable(i) for i in call.active)
    rules = sum(rule is not None for rule in primitive.rules)
    whole = primitive.joint or primitive.rest_name or with_rule == rules
    return call if whole and len(call.active) == len(function.operands) else None
