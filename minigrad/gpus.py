"""The GPUs that CuPy sees and, where it sees none, why not and what helps."""

from __future__ import annotations

import os
from typing import Any, NamedTuple


class Gpus(NamedTuple):
    """How many GPUs CuPy sees and, where it sees none, why not and what helps."""

    number: int
    why: str = ""
    way_out: str = ""


INSTALL = (
    "Install it, in minigrad's clone, with pip install -e '.[cuda12]' or '.[cuda13]' "
    "(nvidia-smi shows the driver's CUDA version)"
)


def look_for_gpus() -> Gpus:
    """Ask CuPy for GPUs."""
    try:
        from cupy.cuda import runtime
    except Exception as error:
        return _no_cupy(error)
    try:
        count = runtime.getDeviceCount()
    except Exception as error:
        return _no_driver(runtime, error)
    return Gpus(count) if count else _no_gpu()


def _no_cupy(error: Exception) -> Gpus:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing in ("cupy", "cupy.cuda"):  # the second where a mere folder is so called
        return Gpus(0, "CuPy is not installed", INSTALL)
    # CuPy puts general advice around the error that stopped it.
    told = str(error).rpartition("Original error:")[2].strip("=\n ")
    return Gpus(0, f"CuPy is installed but cannot be imported ({told})", INSTALL)


def _no_driver(runtime: Any, error: Exception) -> Gpus:
    """CUDA's own words, told apart: no driver, an old one, no GPU, anything else."""
    if "cudaErrorNoDevice" in str(error):
        return _no_gpu()
    if "cudaErrorInsufficientDriver" not in str(error):
        return Gpus(0, f"CUDA failed ({error})", "Check that nvidia-smi shows a GPU")
    has, needs = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if has == 0:  # CUDA calls a missing driver an insufficient one
        why = "CuPy is installed, but no NVIDIA driver is"
        return Gpus(0, why, "Install NVIDIA's driver (nvidia-smi then shows the GPU)")
    why = f"the NVIDIA driver is too old: it has CUDA {_version(has)}, CuPy needs "
    way_out = "Update the driver, or install CuPy for an older CUDA ('.[cuda12]')"
    return Gpus(0, why + _version(needs), way_out)


def _no_gpu() -> Gpus:
    why = f"the NVIDIA driver shows no GPU{visible_devices()}"
    way_out = "Check nvidia-smi, and CUDA_VISIBLE_DEVICES if it is set"
    return Gpus(0, why, way_out)


def visible_devices() -> str:
    """What CUDA_VISIBLE_DEVICES has to do with it, where it is set."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if shown is None else f" (CUDA_VISIBLE_DEVICES is {shown!r})"


def _version(number: int) -> str:
    """12.9 for CUDA's 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"


def free_memory(index: int) -> tuple[int, int]:
    """Free and total bytes of a GPU; no free ones where it lets nobody in."""
    import cupy

    try:
        with cupy.cuda.Device(index):
            return cupy.cuda.runtime.memGetInfo()
    except cupy.cuda.runtime.CUDARuntimeError:  # another process has it for itself
        return 0, 0


def version() -> str:
    """CuPy's version."""
    import cupy

    return f"CuPy {cupy.__version__}"


def name_of(index: int) -> str:
    """The GPU as its maker calls it."""
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()


def gigabytes(free: int, total: int) -> str:
    """Free and total bytes, as people read them."""
    return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB"


def counted(count: int) -> str:
    """How many GPUs, in words."""
    return "1 GPU" if count == 1 else f"{count} GPUs"
