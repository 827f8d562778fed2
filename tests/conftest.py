"""How do all tests run: how many examples, by whose clock, with which shared data?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure, so there is no deadline. In `ci` the examples are the
# same in every run; `dev` draws new ones and remembers what failed.
settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, max_examples=50
)
settings.register_profile("dev", deadline=None, print_blob=True, max_examples=50)
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
