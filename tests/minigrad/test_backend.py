"""Which arrays are known, which device is meant, and how do repeats add up?"""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend, memory
from tests.minigrad.fake_cupy import (
    GIGABYTE,
    NO_DRIVER,
    NO_GPU,
    CUDARuntimeError,
    FakeGpus,
    installed,
    two_gpus,
)
from tests.minigrad.helpers import assert_parts, plain

# Every way to ask for a device: all give the same errors.
WAYS = [
    mg.device,
    lambda name: plain([1.0]).to(name),
    lambda name: mg.Tensor([1.0], device=name),
    lambda name: mg.zeros(2, device=name),
]

BROKEN_CUPY = r"""
raise ImportError("=====\nGeneral advice.\n\nOriginal error:\n  no libcudart.so\n=====")
"""


@pytest.fixture
def no_cupy(monkeypatch):
    """As where CuPy is not installed, whatever is."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "cupy.cuda", raising=False)


def test_the_device_of_a_numpy_array_is_the_cpu():
    assert backend.device_of(np.ones(1)) == "cpu"
    assert mg.ones(1, device="cpu").device == "cpu"


def test_an_array_of_a_stranger_is_explained():
    with pytest.raises(TypeError) as raised:
        backend.device_of(memoryview(b""))
    assert_parts(raised.value, "memoryview", "not registered", "add_library")


# -- names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:x", "cuda:", "", "cpu:0", "cuda:-1", "cuda:\u00b2", 1]
)
@pytest.mark.parametrize("ask", WAYS[:2])
def test_an_unknown_device_is_refused(ask, device):
    with pytest.raises(ValueError, match="unknown device") as raised:
        ask(device)
    assert_parts(raised.value, repr(device), "'cpu', 'cuda', 'cuda:N' or 'auto'")


def test_a_device_is_its_name_and_says_why():
    device = mg.device("cpu")
    assert isinstance(device, mg.Device)
    assert device == "cpu"
    assert device.reason == "as asked"
    assert mg.device(device) is device
    again = pickle.loads(pickle.dumps(device))
    assert (again, again.reason) == ("cpu", "as asked")


@pytest.mark.parametrize(("name", "full"), [("cuda:0", "cuda"), ("cuda:01", "cuda:1")])
def test_one_device_has_one_name(name, full):
    with installed(two_gpus()):
        assert mg.device(name) == full == mg.Tensor([1.0], device=name).device


def test_the_gpu_that_was_asked_for_is_described():
    with installed(two_gpus()):
        assert mg.device("cuda:1").reason == "GPU number 1: 21.3 of 24.0 GB free"


# -- "auto" ------------------------------------------------------------------------


def test_auto_is_the_gpu_with_the_most_free_memory():
    with installed(two_gpus()) as gpus:
        device = mg.device("auto")
        assert device == mg.device() == "cuda:1"
        assert device.reason == (
            "GPU number 1, the most free memory of 2 GPUs: 21.3 of 24.0 GB"
        )
        assert gpus.current == 0  # looking around changes nothing
        gpus.memory.reverse()
        assert mg.device("auto") == "cuda"


def test_auto_is_the_cpu_where_no_gpu_has_enough():
    with installed(two_gpus()):
        assert mg.device(memory=21 * GIGABYTE) == "cuda:1"
        device = mg.device(memory=22 * GIGABYTE)
    assert device == "cpu"
    assert_parts(Exception(device.reason), "cuda:1's 21.3 of 24.0 GB", "22.0 GB must")


def test_auto_passes_over_a_gpu_that_lets_nobody_in():
    busy = CUDARuntimeError("cudaErrorDevicesUnavailable: all devices are busy")
    with installed(FakeGpus([busy, (GIGABYTE, GIGABYTE)])):
        assert mg.device() == "cuda:1"
    with installed(FakeGpus([busy])):
        assert mg.device() == "cpu"


@pytest.mark.parametrize("make", WAYS[1:])
def test_auto_works_wherever_a_device_is_named(make):
    with installed(two_gpus()):
        assert make("auto").device == "cuda:1"
    with installed(FakeGpus(error=NO_GPU)):
        assert make("auto").device == "cpu"


def test_auto_without_cupy(no_cupy):
    assert mg.device() == "cpu"
    assert mg.device().reason == "no GPU: CuPy is not installed"


# -- what can be missing -----------------------------------------------------------


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_missing_cupy_says_what_to_install(no_cupy, device, ask):
    with pytest.raises(RuntimeError) as raised:
        ask(device)
    assert_parts(raised.value, repr(device), "CuPy is not installed", "device='cpu'")
    assert_parts(raised.value, "pip install -e '.[cuda12]' or '.[cuda13]'")


def test_a_broken_cupy_is_not_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text(BROKEN_CUPY)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("cupy", "cupy.cuda"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(RuntimeError) as raised:
        mg.device("cuda")
    assert_parts(raised.value, "cannot be imported (no libcudart.so)")


DRIVERS = [
    (FakeGpus(error=NO_DRIVER, driver=0), "no NVIDIA driver is. Install NVIDIA's"),
    (
        FakeGpus(error=NO_DRIVER, driver=11040),
        "driver is too old: it has CUDA 11.4, CuPy needs 12.9. Update the driver",
    ),
    (FakeGpus(error=NO_GPU), "driver shows no GPU. Check nvidia-smi"),
    (FakeGpus(), "driver shows no GPU. Check nvidia-smi"),
    (FakeGpus(error=CUDARuntimeError("cudaErrorUnknown: ?")), "cudaErrorUnknown: ?"),
]


@pytest.mark.parametrize(("gpus", "message"), DRIVERS)
@pytest.mark.parametrize("ask", WAYS)
def test_a_missing_gpu_says_what_is_missing(gpus, message, ask):
    with installed(gpus), pytest.raises(RuntimeError) as raised:
        ask("cuda")
    assert_parts(raised.value, "'cuda' is not available", message, "device='cpu'")


@pytest.mark.parametrize("ask", WAYS)
def test_a_number_beyond_the_last_names_those_there_are(ask):
    with installed(two_gpus()), pytest.raises(RuntimeError) as raised:
        ask("cuda:2")
    assert_parts(raised.value, "'cuda:2'", "2 GPUs, 'cuda' and 'cuda:1'", "one of")


def test_hidden_gpus_are_told(monkeypatch):
    with installed(FakeGpus([(GIGABYTE, GIGABYTE)])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
        with pytest.raises(RuntimeError, match="CUDA_VISIBLE_DEVICES is '3'"):
            mg.device("cuda:3")
    with installed(FakeGpus(error=NO_GPU)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        with pytest.raises(RuntimeError, match="CUDA_VISIBLE_DEVICES is ''"):
            mg.device("cuda")


# -- the current GPU ---------------------------------------------------------------


def test_operations_run_on_the_gpu_that_was_moved_to():
    with installed(two_gpus()) as gpus:
        x = mg.Tensor([1.0, 2.0], device="cuda:1", requires_grad=True)
        y = (x * x + 1).sum()
        y.backward()
        assert y.device == x.grad.device == "cuda:1"
        np.testing.assert_array_equal(x.grad.numpy(), [2, 4])
        assert gpus.current == 1


def test_taking_turns_on_two_gpus():
    with installed(two_gpus()):
        x = mg.Tensor([1.0, 2.0], device="cuda:1")
        y = mg.Tensor([3.0], device="cuda")
        with pytest.raises(ValueError, match="different from the current device"):
            x * 2
        assert x.to("cuda:1") is x  # there already, but now it is that one's turn
        assert (x * 2).device == "cuda:1"
        with pytest.raises(RuntimeError, match="different devices, cuda and cuda:1"):
            x * y
        moved = x.to("cuda")
        assert moved.device == "cuda"
        np.testing.assert_array_equal((moved * y).numpy(), [3, 6])


# -- adding up repeats -------------------------------------------------------------


@given(
    ids=st.lists(st.integers(-4, 3), max_size=12),
    width=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_rows_added_by_sorting_are_rows_added_one_by_one(ids, width, seed):
    random = np.random.default_rng(seed)
    values = random.integers(-9, 9, (len(ids), width)).astype(float)
    index = (np.array(ids, np.int64),)
    ours, theirs = np.ones((4, width)), np.ones((4, width))
    backend.add_at(ours, index, values)
    np.add.at(theirs, index, values)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(), (2, 3), (0,), (2, 0)])
def test_ids_of_any_shape(shape):
    ids = np.zeros(shape, np.int64)
    total = np.zeros((3, 2))
    backend.add_at(total, (ids,), np.ones((*shape, 2)))
    np.testing.assert_array_equal(total[0], [ids.size] * 2)


FAULTS = """
import resource
import sys
import numpy as np
from minigrad.memory import keep_memory

def step():
    kept = [np.ones(2**20) for _ in range(12)]  # 8 MiB each

if sys.argv[1] == "keep" and not keep_memory():
    sys.exit("no glibc")
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_a_step(how: str) -> int:
    """How many pages a step over large arrays gets from the system anew."""
    run = [sys.executable, "-c", FAULTS, how]
    environment = {"NUMPY_MADVISE_HUGEPAGE": "0", "PATH": ""}
    done = subprocess.run(
        run, capture_output=True, text=True, env=environment, check=False
    )
    if "no glibc" in done.stderr:
        pytest.skip("the C library here is no glibc")
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="speaks of Linux's pages")
def test_kept_memory_is_not_asked_for_again():
    assert faults_of_a_step("keep") < 100
    assert faults_of_a_step("give back") > 10_000


def test_where_there_is_no_glibc_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_memory()
