"""How do all tests run: how many examples, by whose clock, with which shared data?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import minigrad as mg
import minigrad.testing.strict
from tests import devices

# A busy machine is no failure, so there is no deadline. `dev` takes seconds, draws new
# examples and remembers what failed; in `ci` they are the same in every run; `deep` is
# for a night.
settings.register_profile("dev", deadline=None, print_blob=True, max_examples=10)
settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=50, derandomize=True
)
settings.register_profile("deep", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and reference values, where there is one."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}: these tests read its real data")
    return SHARED


def has_gpu() -> bool:
    """Whether CuPy finds a GPU."""
    try:
        mg.zeros(1, device="cuda")
    except RuntimeError:
        return False
    return True


DEVICES = ["cpu", "strict"]
if has_gpu():
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.gpu))


# Of module scope, so that Hypothesis may run many examples inside.
@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each device in turn; `tests.devices.put` puts things there."""
    with devices.on(request.param) as name:
        yield name


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the property tests be run alone: with other seeds, or many examples."""
    text = "run only tests that Hypothesis draws examples for"
    parser.addoption("--only-properties", action="store_true", help=text)


def is_property(item: Any) -> bool:
    """Whether Hypothesis draws examples for a test."""
    function = getattr(item, "obj", None)
    return bool(getattr(function, "is_hypothesis_test", False))


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of tests that make sense on the CPU alone."""
    config.addinivalue_line("markers", "only_cpu(why): not run on other devices")


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Leave out what is marked `only_cpu` elsewhere, and what was not asked for."""
    everything = not config.getoption("--only-properties")
    wanted, left_out = [], []
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        elsewhere = params.get("device", "cpu") != "cpu"
        fits = not (elsewhere and item.get_closest_marker("only_cpu"))
        runs = fits and (everything or is_property(item))
        (wanted if runs else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = wanted
