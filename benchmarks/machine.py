"""The machine: processor, matrix kernels, threads and peak memory."""

import ctypes
import os
import platform
import re
from pathlib import Path

THREADS = 2
PROCESS = Path("/proc/self")
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CORENAME = (
    "scipy_openblas_get_corename64_",
    "scipy_openblas_get_corename",
    "openblas_get_corename64_",
    "openblas_get_corename",
)


def child_environment() -> dict[str, str]:
    """Return this environment with the threads set and OpenBLAS free to choose."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    environment.update(dict.fromkeys(POOLS, str(THREADS)), JAX_PLATFORMS="cpu")
    return environment


def restrict_to_threads() -> None:
    """Keep this process on as many cores as it may use: JAX has no other setting."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:THREADS])


def openblas_kernels() -> str:
    """Name the kernels that the loaded OpenBLAS chose, or "" if none is loaded."""
    maps = PROCESS / "maps"
    text = maps.read_text() if maps.exists() else ""
    for path in sorted(set(re.findall(r"\S*openblas\S*", text))):
        library = ctypes.CDLL(path)
        for name in CORENAME:
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                return f"OpenBLAS {function().decode()}"
    return ""


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
    cpu = _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)", platform.processor())
    memory = _first(Path("/proc/meminfo"), r"MemTotal:\s*(\d+) kB", "0")
    flags = _first(Path("/proc/cpuinfo"), r"(?:flags|Features)\s*:\s*(.+)", "").split()
    vectors = next((f for f in ("avx512f", "avx2", "asimd") if f in flags), "unknown")
    return {
        "processor": f"{cpu.strip()}, {vectors}",
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory) / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "threads": str(THREADS),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _first(path: Path, pattern: str, otherwise: str) -> str:
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found[1] if found else otherwise
