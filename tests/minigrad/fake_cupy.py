"""What stands in for CuPy and its GPUs in tests?  NumPy behind CuPy's names.

Names, errors and their order follow CuPy 14: kernels run on the thread's current GPU,
operands of another are refused (as where the hardware allows no peer access), results
are made on the current one.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

from minigrad import backend

GIGABYTE = 10**9


class CUDARuntimeError(RuntimeError):
    """As CuPy's: the error's name, then CUDA's sentence."""


NO_GPU = CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
NO_DRIVER = CUDARuntimeError(
    "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime "
    "version"
)


class FakeArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on one of the fake GPUs."""

    def __init__(self, values: np.ndarray, gpus: FakeGpus) -> None:
        self.values = values
        self.gpus = gpus
        self.device = gpus.Device(gpus.current)

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    size = property(lambda self: self.values.size)
    ndim = property(lambda self: self.values.ndim)
    base = None

    def _on(self, value):
        """What a kernel sees of an operand, which must be on the current GPU."""
        if isinstance(value, list | tuple):
            return type(value)(map(self._on, value))
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError(f"Unsupported type {type(value)}")
        if not isinstance(value, FakeArray):
            return value
        if value.device.id != self.gpus.current:
            raise ValueError(
                f"The device where the array resides ({value.device.id}) is different "
                f"from the current device ({self.gpus.current}). Peer access is "
                "unavailable between these devices."
            )
        return value.values

    def _made(self, result):
        if isinstance(result, list | tuple):
            return type(result)(map(self._made, result))
        arrays = isinstance(result, np.ndarray | np.generic)
        return FakeArray(np.asarray(result), self.gpus) if arrays else result

    def _call(self, function, args, kwargs):
        out = kwargs.get("out")
        kwargs = {name: self._on(value) for name, value in kwargs.items()}
        result = function(*map(self._on, args), **kwargs)
        if out is not None:
            return out[0] if isinstance(out, tuple) else out
        return self._made(result)

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        if any(isinstance(x, list | tuple) for x in args):
            return NotImplemented
        return self._call(getattr(ufunc, method), args, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return self._call(function, args, kwargs)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getitem__(self, key):
        return self._call(np.ndarray.__getitem__, (self, key), {})

    def __setitem__(self, key, value):
        self._call(np.ndarray.__setitem__, (self, key, value), {})

    def __getattr__(self, name):
        if name.startswith("__"):  # no way around for NumPy
            raise AttributeError(name)
        method = getattr(np.ndarray, name)
        if not callable(method):  # .T is an array, .flags is not
            found = getattr(self.values, name)
            return self._made(found) if isinstance(found, np.ndarray) else found
        return lambda *args, **kwargs: self._call(method, (self, *args), kwargs)

    def __len__(self):
        return len(self.values)

    def __float__(self):
        return float(self.values)

    def get(self):
        return self.values.copy()

    def item(self):
        return self.values.item()


class FakeGpus(types.ModuleType):
    """The module `cupy`, with GPUs of given free and total bytes."""

    def __init__(self, memory=(), error=None, driver=12090) -> None:
        super().__init__("cupy")
        self.memory, self.error, self.driver = list(memory), error, driver
        self.current = 0
        self.ndarray = FakeArray
        self.__version__ = "14.2.0"
        gpus = self

        class Device:
            def __init__(self, index) -> None:
                self.id = index
                self.before: list[int] = []

            def use(self):
                gpus.current = self.id

            def __enter__(self):
                self.before.append(gpus.current)
                self.use()

            def __exit__(self, *_):
                gpus.current = self.before.pop()

        self.Device = Device
        self.add = types.SimpleNamespace(at=self._add_at)
        self.cuda = types.ModuleType("cupy.cuda")
        self.cuda.Device = Device
        self.cuda.runtime = self._runtime()

    def _runtime(self):
        runtime = types.ModuleType("cupy.cuda.runtime")
        runtime.CUDARuntimeError = CUDARuntimeError
        runtime.getDeviceCount = self._count
        runtime.memGetInfo = self._memory
        runtime.driverGetVersion = lambda: self.driver
        runtime.runtimeGetVersion = lambda: 12090
        runtime.getDeviceProperties = lambda i: {"name": f"GPU number {i}".encode()}
        return runtime

    def _count(self):
        if self.error is not None:
            raise self.error
        return len(self.memory)

    def _memory(self):
        found = self.memory[self.current]
        if isinstance(found, Exception):
            raise found
        return found

    @staticmethod
    def _add_at(total, index, values):
        total._call(np.add.at, (total, index, values), {})

    def asarray(self, array):
        if isinstance(array, FakeArray):
            if array.device.id == self.current:
                return array
            array = array.values
        return FakeArray(np.array(array), self)


@contextlib.contextmanager
def registered(library: backend.Library | None = None) -> Iterator[None]:
    """Register a library, if one is given, and forget afterwards what was added."""
    libraries = dict(backend.libraries)
    types_before, known = set(backend.ARRAY_TYPES), set(backend.KNOWN)
    if library is not None:
        backend.add_library(library)
    try:
        yield
    finally:
        backend.libraries.clear()
        backend.libraries.update(libraries)
        backend.ARRAY_TYPES.intersection_update(types_before)
        backend.KNOWN.intersection_update(known)


@contextlib.contextmanager
def installed(gpus: FakeGpus) -> Iterator[FakeGpus]:
    """Let `import cupy` find these GPUs."""
    with pytest.MonkeyPatch.context() as patch, registered():
        backend.libraries.pop("cuda", None)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.setitem(sys.modules, "cupy", gpus)
        patch.setitem(sys.modules, "cupy.cuda", gpus.cuda)
        yield gpus


def two_gpus() -> FakeGpus:
    """A machine with two GPUs, the second with more free memory."""
    total = 24 * GIGABYTE
    return FakeGpus([(3 * GIGABYTE, total), (213 * GIGABYTE // 10, total)])
