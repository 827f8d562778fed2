"""Which pictures do the application's tests learn from? A small drawn set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import minigrad as mg
from apps.captioning import shapes


@pytest.fixture(autouse=True)
def memory_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands must not keep memory here: it would be kept for all later tests."""
    monkeypatch.setattr(mg, "keep_memory", lambda: False)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 51 training and 12 validation scenes; not to be changed.

    So many that their 255 captions all but fill four minibatches of 64: a small last
    one would make an epoch's mean loss depend on how long its few captions are.
    """
    folder = tmp_path_factory.mktemp("drawn") / "shapes"
    shapes.make(folder, seed=3, scenes=(51, 12))
    return folder


@pytest.fixture
def copy(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the drawn folder, into which a test puts a fault."""
    return Path(shutil.copytree(drawn, tmp_path / "copy"))
