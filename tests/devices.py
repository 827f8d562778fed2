"""On which device does a test run, and how do its values get there?

A module whose tests run on every device says so once, with
``pytestmark = pytest.mark.usefixtures("device")``; its values come from helpers that
call `put`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
import nn


class Place:
    """Where `put` puts things now."""

    device = "cpu"


def here() -> str:
    """The device that the running test is for."""
    return Place.device


@contextlib.contextmanager
def on(device: str) -> Iterator[str]:
    """Let `put` put things on a device."""
    before, Place.device = Place.device, device
    try:
        yield device
    finally:
        Place.device = before


def put(thing: Any) -> Any:
    """The same on the test's device: a module, a tensor, or an array as its tensor's.

    Lists and tuples are put item by item; arrays stay as they are on the CPU.
    """
    if isinstance(thing, list | tuple):
        return type(thing)(map(put, thing))
    if isinstance(thing, nn.Module):
        return thing.to(here())
    if isinstance(thing, np.ndarray | np.generic):
        return mg.asarray(thing).to(here()).data
    return thing.to(here()) if isinstance(thing, mg.Tensor) else thing
