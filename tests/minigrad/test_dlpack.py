"""Is memory shared through DLPack, and refused where that would go wrong?"""

import sys
import types

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from tests.minigrad.helpers import assert_parts

DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"]


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_reads_a_tensors_memory(dtype):
    tensor = mg.Tensor(np.arange(6).reshape(2, 3).astype(dtype))
    array = np.from_dlpack(tensor)
    assert address(array) == address(tensor.data)
    np.testing.assert_array_equal(array, tensor.numpy(), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_reads_numpys_memory(dtype):
    array = np.arange(6).reshape(2, 3).T.astype(dtype)
    tensor = mg.from_dlpack(array)
    assert address(tensor.data) == address(array)
    np.testing.assert_array_equal(tensor.numpy(), array, strict=True)
    assert not tensor.requires_grad
    array[0, 0] = 1
    assert tensor[0, 0].item() == 1


def test_views_keep_their_strides():
    array = np.arange(12.0).reshape(3, 4)[::2, 1:]
    assert mg.from_dlpack(array).data.strides == array.strides
    assert np.from_dlpack(mg.asarray(array)).strides == array.strides


def test_there_and_back_is_the_same_memory():
    tensor = mg.ones((2, 3))
    again = mg.from_dlpack(np.from_dlpack(tensor))
    again[0, 0] = 5.0
    assert tensor[0, 0].item() == 5


def test_memory_outlives_its_owner():
    tensor = mg.from_dlpack(np.arange(3.0))
    array = np.from_dlpack(mg.Tensor([1.0, 2.0]))
    assert (tensor.numpy().tolist(), array.tolist()) == ([0, 1, 2], [1, 2])


def test_the_device_is_the_cpu():
    assert mg.ones(2).__dlpack_device__() == np.ones(2).__dlpack_device__()


def test_a_copy_can_be_asked_for():
    tensor = mg.ones(3)
    assert address(np.from_dlpack(tensor, copy=True)) != address(tensor.data)


@pytest.mark.parametrize("recorded", [lambda x: x, lambda x: x * 2])
def test_what_requires_gradients_is_not_shared(recorded):
    tensor = recorded(mg.ones(3, requires_grad=True))
    with pytest.raises(BufferError) as raised:
        np.from_dlpack(tensor)
    assert_parts(raised.value, "requires gradients", "not on the tape", "x.detach()")
    with mg.no_grad(), pytest.raises(BufferError):
        np.from_dlpack(tensor)
    assert address(np.from_dlpack(tensor.detach())) == address(tensor.data)


def test_read_only_memory_stays_read_only():
    array = np.ones(3)
    array.flags.writeable = False
    tensor = mg.from_dlpack(array)
    assert address(tensor.data) == address(array)
    with pytest.raises(ValueError, match="read-only"):
        tensor[0] = 2.0
    assert not np.from_dlpack(mg.asarray(array)).flags.writeable


class Older:
    """A library that knows DLPack before version 1, which cannot say read-only."""

    def __dlpack__(self, stream=None):
        return np.ones(3).__dlpack__()

    def __dlpack_device__(self):
        return (1, 0)


def test_an_older_library_is_read_but_not_written_to():
    tensor = mg.from_dlpack(Older())
    assert tensor.numpy().tolist() == [1, 1, 1]
    assert not tensor.data.flags.writeable


def test_what_knows_no_dlpack_is_refused():
    with pytest.raises(TypeError) as raised:
        mg.from_dlpack([1.0, 2.0])
    assert_parts(raised.value, "a list", "DLPack", "minigrad.asarray")


class Unshared:
    """A library's array that cannot be shared."""

    def __init__(self, kind=1):
        self.kind = kind

    def __dlpack__(self, **request):
        raise BufferError("It is sparse.")

    def __dlpack_device__(self):
        return (self.kind, 0)


def test_what_cannot_be_shared_says_why():
    with pytest.raises(BufferError) as raised:
        mg.from_dlpack(Unshared())
    assert_parts(raised.value, "this Unshared", "It is sparse.", "Convert it")


def test_a_gpus_memory_goes_to_the_library_of_the_gpus_arrays(monkeypatch):
    asked = []
    result = np.ones(2)
    library = types.SimpleNamespace(from_dlpack=lambda x: asked.append(x) or result)
    array_type = type("ndarray", (), {"__module__": "gpu_arrays.core"})
    monkeypatch.setitem(sys.modules, "gpu_arrays", library)
    known = types.SimpleNamespace(array_type=array_type)
    monkeypatch.setitem(backend.libraries, "cuda", known)
    monkeypatch.setattr(backend, "device", lambda name: asked.append(name))
    source = Unshared(kind=2)
    assert mg.from_dlpack(source).data is result
    assert asked == ["cuda:0", source]


@pytest.mark.gpu
def test_a_gpus_memory_is_shared_both_ways():
    cupy = pytest.importorskip("cupy")
    array = cupy.arange(3.0)
    tensor = mg.from_dlpack(array)
    assert tensor.device == "cuda"
    assert tensor.data.data.ptr == array.data.ptr
    assert cupy.from_dlpack(tensor).data.ptr == array.data.ptr
