"""May a comparison with another library be skipped? Not where one asks for all.

With MINIGRAD_REQUIRE_PEERS=1 in the environment, as in `.ci/run`, a test here that is
skipped fails, so that a comparison cannot be lost in silence.
"""

from __future__ import annotations

import importlib
import os

import pytest

REQUIRED = os.environ.get("MINIGRAD_REQUIRE_PEERS") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skipped comparison into a failure where all are required."""
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if report.longrepr else ""
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} was skipped ({reason}), but MINIGRAD_REQUIRE_PEERS=1 "
            "requires every comparison. Install what is missing: "
            "pip install -e '.[interop]'"
        )
    return report


def _peer(name):
    """A library that is compared with, or a skip that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed: pip install -e '.[interop]'")


@pytest.fixture(scope="session")
def torch():
    """PyTorch, where it is installed."""
    return _peer("torch")


@pytest.fixture(scope="session")
def torch_side(torch):
    """PyTorch's side of the cases, where it is installed."""
    return importlib.import_module("tests.interop.torch_side")


@pytest.fixture(scope="session")
def safetensors():
    """The `safetensors` package's functions for NumPy, where it is installed."""
    return _peer("safetensors.numpy")
