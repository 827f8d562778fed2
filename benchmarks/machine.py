"""The machine: processor, matrix kernels, threads and peak memory."""

import os
import platform
import re
from pathlib import Path

from apps.machine import blas, processor, simd

CORES = "MINIGRAD_BENCHMARK_CORES"  # the variable that children read
THREADS = int(os.environ.get(CORES, "2"))
PROCESS = Path("/proc/self")
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def child_environment() -> dict[str, str]:
    """Return this environment with the threads set and OpenBLAS free to choose."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    threads = environment.get(CORES, str(THREADS))
    environment.update(dict.fromkeys(POOLS, threads), JAX_PLATFORMS="cpu")
    return environment


def restrict_to_threads() -> None:
    """Pin this process to as many cores as it may use: JAX has no other setting."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        # The first core also serves the machine: one alone is the last.
        os.sched_setaffinity(0, allowed[-THREADS:])


def openblas_kernels() -> str:
    """Name the kernels that the loaded OpenBLAS chose, or "" if none is loaded."""
    library = blas()
    if library["internal_api"] != "openblas":
        return ""
    return f"OpenBLAS {library['architecture']}"


def reset_peak_memory() -> int:
    """Forget the peak so far and return the bytes resident now.

    Raises: RuntimeError where the kernel does not offer it (Linux does).
    """
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError as error:
        raise RuntimeError(
            f"The peak of this process's memory cannot be reset ({error}): it is read "
            "from Linux's /proc. Run the benchmarks on Linux."
        ) from error
    return _status("VmRSS")


def peak_memory() -> int:
    """Return the most bytes resident since the peak was reset."""
    return _status("VmHWM")


def _status(key: str) -> int:
    text = (PROCESS / "status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, f"/proc/self/status has no {key}"
    return int(found[1]) * 1024


def describe() -> dict[str, str]:
    """Return the processor, cores, memory, system, Python and the load before."""
    meminfo = Path("/proc/meminfo")
    text = meminfo.read_text() if meminfo.exists() else ""
    memory = re.search(r"MemTotal:\s*(\d+) kB", text)
    return {
        "processor": ", ".join([processor(), *simd()[-1:]]),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "pinned to": f"{os.environ.get(CORES, THREADS)} cores, as many threads",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
