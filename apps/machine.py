"""What this machine computes with: processor, cores and BLAS."""

from __future__ import annotations

import contextlib
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

CPUINFO = Path("/proc/cpuinfo")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def processor() -> str:
    """The processor's name."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.processor() or platform.machine()


def simd() -> list[str]:
    """The SIMD extensions that NumPy uses here, the widest last."""
    extensions = _numpy_build()["SIMD Extensions"]
    return [*extensions.get("baseline", ()), *extensions.get("found", ())]


def cores() -> int:
    """How many cores this process may use: its affinity and its container's quota."""
    from nn.fast import usable_cores

    allowed = usable_cores()
    with contextlib.suppress(OSError, ValueError):  # no such file, or no quota: "max"
        quota, period = map(int, QUOTA.read_text().split())
        allowed = max(1, min(allowed, quota // period))
    return allowed


def blas() -> dict[str, Any]:
    """NumPy's BLAS as threadpoolctl describes it; only its name if that is unknown."""
    for library in threadpool_info():
        if library["user_api"] == "blas":
            return library
    return {"internal_api": _numpy_build()["Build Dependencies"]["blas"]["name"]}


def _numpy_build() -> dict[str, Any]:
    build: Any = np.show_config(mode="dicts")
    return build
