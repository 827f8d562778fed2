"""What does a framework have to offer to be measured? One module a framework."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from benchmarks.works import Problem

VARIABLE = "MINIGRAD_BENCHMARK_DEVICE"
DEVICE = os.environ.get(VARIABLE, "cpu")
"""Where the children work; the others know the CPU only."""
ON_GPUS = ("minigrad", "pytorch")

Step = Callable[[], Any]
"""Does one whole step; returns the number or numbers that must agree between peers.

Each has `.item()`. A chain returns y, dy/dx and dy/dw; the others return the loss.
"""


class Peer(Protocol):
    """A module of this folder.

    `WORKS` maps a work's kind to implementations by their name in the table; each
    builds, from the common starting values, a step: forward, backward and, where
    the work trains, one update by Adam.
    """

    VERSION: str
    WORKS: Mapping[str, Mapping[str, Callable[[Problem], Step]]]

    @staticmethod
    def kernels() -> str:
        """Say which matrix kernels the framework uses, "" if NumPy's."""

    @staticmethod
    def synchronize() -> None:
        """Wait until all that was begun is done; at once where nothing is put off."""


MODULES = {
    "minigrad": "benchmarks.peers.ours",
    "pytorch": "benchmarks.peers.pytorch",
    "jax": "benchmarks.peers.jax_",
    "autograd": "benchmarks.peers.hips",
    "mygrad": "benchmarks.peers.mygrad_",
}
REFERENCE = "pytorch"
"""The peer whose numbers the others are compared with and divided by."""


def load(name: str) -> Peer:
    """Import a peer's module. Raises: ImportError where it is not installed."""
    return cast(Peer, import_module(MODULES[name]))
