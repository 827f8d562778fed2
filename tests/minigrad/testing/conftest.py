"""What do the checker's tests share?  A registry that forgets their primitives."""

from __future__ import annotations

import pytest

from minigrad.tape import registry


@pytest.fixture(autouse=True)
def own_registry():
    """The tests' primitives are forgotten afterwards."""
    known = dict(registry)
    yield
    registry.clear()
    registry.update(known)
