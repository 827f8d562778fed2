"""Do PyTorch and safetensors read what we write, and we what they write?"""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import nn
from minigrad.io.safetensors import CODES
from tests.interop import cases, files, minigrad_side

# -- state dictionaries ------------------------------------------------------------


@pytest.mark.parametrize("layer", minigrad_side.LAYERS)
def test_weights_of_both_biases_go_in_and_out(layer, torch, torch_side):
    theirs = torch_side.LAYERS[layer].make()
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours = minigrad_side.LAYERS[layer].make()
    nn.load_torch_state_dict(ours, theirs.state_dict())
    compare_outputs(layer, ours, theirs, torch_side)
    again = torch_side.LAYERS[layer].make()
    state = nn.torch_state_dict(ours)
    again.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})
    compare_outputs(layer, ours, again, torch_side)


def compare_outputs(layer, ours, theirs, torch_side):
    inputs = cases.inputs_of(cases.LAYERS[name_of(layer)].inputs, layer)
    results = [
        [
            side.array(output)
            for output in side.LAYERS[layer].call(model, *map(side.tensor, inputs))
        ]
        for side, model in ((minigrad_side, ours), (torch_side, theirs))
    ]
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)


def name_of(layer):
    return next(name for name, case in cases.LAYERS.items() if case.layer == layer)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_model_goes_by_file_from_there_to_here(is_zip, torch, tmp_path, torch_side):
    theirs = torch_side.LAYERS["Tagger"].make()
    path = tmp_path / "x.pth"
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=is_zip)
    ours = minigrad_side.LAYERS["Tagger"].make()
    nn.load_torch_state_dict(ours, mg.io.load_torch(path))
    compare_outputs("Tagger", ours, theirs, torch_side)


# -- .pth --------------------------------------------------------------------------

DTYPES = [
    *("float16", "float32", "float64", "bfloat16", "bool", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8"),
]
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES, *files.NEWER]),
        "shape": hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        "order": st.sampled_from(["as it is", "transposed", "part", "expanded"]),
        "parameter": st.booleans(),
    }
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=9),
    st.binary(max_size=9),
)
CONTENT = st.recursive(
    st.one_of(TENSORS.map(lambda wish: ("tensor", wish)), PLAIN),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
        st.dictionaries(st.text(max_size=4), inner, max_size=4).map(
            collections.OrderedDict
        ),
    ),
    max_leaves=8,
)


def made(torch, wish, is_zip):
    """Make the tensors that a content wishes for."""
    if isinstance(wish, tuple):
        return made_tensor(torch, is_zip, **wish[1])
    if isinstance(wish, dict):
        items = [(key, made(torch, value, is_zip)) for key, value in wish.items()]
        return type(wish)(items)
    if isinstance(wish, list):
        return [made(torch, value, is_zip) for value in wish]
    return wish


def made_tensor(torch, is_zip, dtype, shape, order, parameter):
    if dtype in files.NEWER and not is_zip:
        dtype = "uint8"
    count = int(np.prod(shape, dtype=int))
    whole = (torch.arange(count, dtype=torch.float32) - 2).reshape(shape)
    tensor = whole.abs().to(getattr(torch, dtype))
    if order == "transposed":
        tensor = tensor.permute(tuple(reversed(range(len(shape)))))
    elif order == "part" and shape:
        tensor = tensor[1:]
    elif order == "expanded":
        tensor = tensor.expand(2, *shape)
    floats = dtype.startswith(("float", "bfloat"))
    return torch.nn.Parameter(tensor) if parameter and floats else tensor


def assert_same(torch, ours, theirs):
    if isinstance(theirs, torch.Tensor):
        wide = theirs.dtype == torch.bfloat16
        expected = (theirs.float() if wide else theirs).detach().numpy()
        np.testing.assert_array_equal(ours, expected, strict=True)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(torch, ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(torch, mine, other)
    else:
        assert (ours, type(ours)) == (theirs, type(theirs))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("exchange")


@given(wish=CONTENT, is_zip=st.booleans(), protocol=st.sampled_from([2, 4]))
def test_what_pytorch_saves_is_read(torch, scratch, wish, is_zip, protocol):
    path = scratch / "x.pth"
    torch.save(
        made(torch, wish, is_zip),
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_zip,
    )
    theirs = torch.load(path, weights_only=False)
    assert_same(torch, mg.io.load_torch(path), theirs)


@pytest.mark.parametrize("container", files.CONTAINERS)
def test_pytorch_reads_the_committed_files_alike(container, torch):
    path = cases.FIXTURES / container
    theirs = torch.load(path, weights_only=False)
    theirs |= {"size": tuple(theirs["size"]), "device": str(theirs["device"])}
    theirs["dtype"] = np.dtype("float16")
    assert_same(torch, mg.io.load_torch(path), theirs)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_whole_module_is_refused(is_zip, torch, tmp_path):
    path = tmp_path / "x.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear"):
        mg.io.load_torch(path)


def imaginary(torch):
    """A part of conjugated numbers, whose sign PyTorch turns by a bit alone."""
    return torch.tensor([1 + 2j, 3 - 4j]).conj().imag


OPPOSITE = {
    "conj": lambda torch: torch.tensor([1 + 2j]).conj(),
    "neg": imaginary,
    "a parameter": lambda torch: torch.nn.Parameter(torch.tensor([1j]).conj()),
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", OPPOSITE)
def test_a_tensor_whose_sign_is_a_bit_is_refused_until_it_is_resolved(
    name, is_zip, torch, tmp_path
):
    path, tensor = tmp_path / "x.pth", OPPOSITE[name](torch).detach()
    torch.save({"a": tensor}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"tensor\.resolve_conj\(\)\.resolve_neg\(\)"):
        mg.io.load_torch(path)
    plain = tensor.resolve_conj().resolve_neg()
    torch.save({"a": plain}, path, _use_new_zipfile_serialization=is_zip)
    np.testing.assert_array_equal(mg.io.load_torch(path)["a"], plain.numpy())


# -- safetensors -------------------------------------------------------------------

ARRAYS = hnp.arrays(
    st.sampled_from(sorted(CODES)),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
STATES = st.dictionaries(
    st.text(min_size=1, max_size=9).filter(lambda t: t != "__metadata__"), ARRAYS
)
TEXTS = st.text(max_size=5)
# Without arrays and with empty metadata, the package (0.8.0) writes no JSON.
METADATA = st.none() | st.dictionaries(TEXTS, TEXTS, min_size=1)


@given(state=STATES, metadata=METADATA)
def test_safetensors_reads_what_we_write(safetensors, scratch, state, metadata):
    path = scratch / "ours.safetensors"
    mg.io.save_safetensors(path, state, metadata)
    assert_equal_states(safetensors.load_file(path), state)


@given(state=STATES, metadata=METADATA)
def test_we_read_what_safetensors_writes(safetensors, scratch, state, metadata):
    path = scratch / "theirs.safetensors"
    safetensors.save_file(state, path, metadata)
    assert_equal_states(mg.io.load_safetensors(path), state)


def assert_equal_states(read, state):
    assert set(read) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_bfloat16_of_pytorchs_is_read(torch, safetensors, scratch):
    from safetensors.torch import save_file

    path = scratch / "b.safetensors"
    tensor = torch.tensor([1.0, 0.1, -3e38]).to(torch.bfloat16)
    save_file({"a": tensor}, path)
    read = mg.io.load_safetensors(path)["a"]
    np.testing.assert_array_equal(read, tensor.float().numpy(), strict=True)


# -- DLPack ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_memory_is_shared_with_pytorch_both_ways(dtype, torch):
    ours = mg.Tensor(np.arange(6).reshape(2, 3).astype(dtype))
    theirs = torch.from_dlpack(ours)
    assert theirs.data_ptr() == ours.data.__array_interface__["data"][0]
    np.testing.assert_array_equal(theirs.numpy(), ours.numpy(), strict=True)
    part = theirs.t()[1:]
    back = mg.from_dlpack(part)
    assert back.data.__array_interface__["data"][0] == part.data_ptr()
    np.testing.assert_array_equal(back.numpy(), part.numpy(), strict=True)
    back[0, 0] = 0
    assert ours[0, 1].item() == 0


def test_neither_shares_what_requires_gradients(torch):
    with pytest.raises(BufferError, match=r"x\.detach\(\)"):
        torch.from_dlpack(mg.ones(3, requires_grad=True))
    with pytest.raises(BufferError, match=r"tensor\.detach\(\)"):
        mg.from_dlpack(torch.ones(3, requires_grad=True))


def test_what_numpy_has_no_dtype_for_is_refused(torch):
    with pytest.raises(BufferError, match="Convert it in its own library"):
        mg.from_dlpack(torch.ones(3, dtype=torch.bfloat16))
