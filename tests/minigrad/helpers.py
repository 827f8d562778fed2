"""What do the engine's tests share? Leaves, and what is alive or handed on."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.tape import Entry, Observer, Scope
from tests.devices import here


def leaf(values: Any, dtype: str = "float64") -> mg.Tensor:
    """A float64 tensor that requires gradients, on the test's device."""
    return mg.Tensor(np.array(values, dtype), requires_grad=True, device=here())


def plain(values: Any, dtype: str = "float64") -> mg.Tensor:
    """A float64 tensor without gradient, on the test's device."""
    return mg.Tensor(np.array(values, dtype), device=here())


def assert_equal(tensor: mg.Tensor, expected: Any) -> None:
    """Compare a tensor's values exactly."""
    assert isinstance(tensor, mg.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def assert_close(tensor: mg.Tensor, expected: Any, tolerance: float = 1e-12) -> None:
    """Compare a tensor's values up to rounding."""
    assert isinstance(tensor, mg.Tensor)
    np.testing.assert_allclose(tensor.numpy(), expected, tolerance, tolerance)


def assert_parts(error: BaseException, *parts: str) -> None:
    """Check that a message holds these parts (what, why, way out)."""
    missing = [part for part in parts if part not in str(error)]
    assert not missing, f"{missing} not in: {error}"


def live_entries() -> int:
    """How many entries of tapes are alive."""
    # By type: isinstance would ask every object of every package for its class.
    return sum(issubclass(type(thing), Entry) for thing in gc.get_objects())


class Work(Observer):
    """Watches a walk: how many entries, and how many numbers their rules hand on."""

    def __init__(self) -> None:
        self.walked: list[str] = []
        self.numbers = 0

    def differentiated(self, entry, g, handed, seconds) -> None:
        self.walked.append(entry.name)
        for _, gradient in handed:
            parts = gradient if isinstance(gradient, list) else [gradient]
            self.numbers += sum(part.size for part in parts)


def work_of_backward(output: mg.Tensor) -> Work:
    """Walk back from the sum of `output` and count."""
    total = output.sum()
    with Scope(observer=Work()) as work:
        total.backward()
    return work
