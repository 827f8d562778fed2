"""Are arrays written and read as the safetensors format says?"""

import json
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import nn
from minigrad.io.safetensors import CODES, KINDS, LARGEST_HEADER
from tests.minigrad.helpers import assert_parts

ARRAYS = hnp.arrays(
    st.sampled_from(sorted(CODES)).map(np.dtype)
    | st.sampled_from([">f8", ">f4", ">i2", ">u8"]).map(np.dtype),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
STATES = st.dictionaries(st.text().filter(lambda t: t != "__metadata__"), ARRAYS)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors") / "x.safetensors"


def header(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :], 8 + length


@given(state=STATES, metadata=st.none() | st.dictionaries(st.text(), st.text()))
def test_every_state_comes_back_as_it_was(scratch, state, metadata):
    mg.io.save_safetensors(scratch, state, metadata)
    read = mg.io.load_safetensors(scratch)
    assert list(read) == list(state)
    for name, array in state.items():
        native = array.astype(array.dtype.newbyteorder("="))
        np.testing.assert_array_equal(read[name], native, strict=True)
        assert read[name].flags.writeable
    entries, _, start = header(scratch)
    assert entries.get("__metadata__", {}) == (metadata or {})
    assert start % 8 == 0


@given(state=STATES)
def test_every_array_begins_at_a_multiple_of_its_numbers_size(scratch, state):
    mg.io.save_safetensors(scratch, state)
    entries, _, _ = header(scratch)
    for name, array in state.items():
        assert entries[name]["data_offsets"][0] % array.dtype.itemsize == 0


def test_the_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "x.safetensors"
    mg.io.save_safetensors(path, {"a": np.array([[1, 2]], "int16")}, {"from": "here"})
    text = (
        b'{"__metadata__":{"from":"here"},'
        b'"a":{"dtype":"I16","shape":[1,2],"data_offsets":[0,4]}}'
    )
    padded = text + b" " * (-len(text) % 8)
    expected = len(padded).to_bytes(8, "little") + padded + b"\x01\x00\x02\x00"
    assert path.read_bytes() == expected


def test_a_modules_state_and_tensors_and_views_can_be_saved(tmp_path):
    path = tmp_path / "x.safetensors"
    layer = nn.Linear(3, 2, generator=mg.Generator(0))
    leaf = mg.Tensor([1.0, 2.0], requires_grad=True)
    view = np.arange(6).reshape(2, 3).T[::-1]
    mg.io.save_safetensors(path, {**layer.state_dict(), "leaf": leaf, "view": view})
    read = mg.io.load_safetensors(path)
    np.testing.assert_array_equal(read.pop("leaf"), np.float32([1, 2]), strict=True)
    np.testing.assert_array_equal(read.pop("view"), view, strict=True)
    other = nn.Linear(3, 2)
    other.load_state_dict(read)
    np.testing.assert_array_equal(other.W.numpy(), layer.W.numpy())


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    mg.io.save_safetensors(path, {"a": np.ones(2)})

    def fail(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no space"):
            mg.io.save_safetensors(path, {"a": np.zeros(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
    np.testing.assert_array_equal(mg.io.load_safetensors(path)["a"], 1)


# -- what cannot be written --------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "metadata", "error", "parts"),
    [
        ({"a": np.ones(2, "c8")}, None, TypeError, ["'a'", "complex64", ".real"]),
        (nn.Linear(2, 2), None, TypeError, ["arrays is a Linear", "state_dict()"]),
        ({}, ["a"], TypeError, ["metadata is a list", "must be a dictionary"]),
        ({0: np.ones(2)}, None, TypeError, ["0 is a int", "texts as keys"]),
        ({}, {"a": 1}, TypeError, ["1 is a int", "metadata as texts"]),
        ({"__metadata__": np.ones(2)}, None, ValueError, ["Rename the array"]),
    ],
)
def test_what_has_no_place_in_the_format_is_refused(
    arrays, metadata, error, parts, tmp_path
):
    with pytest.raises(error) as raised:
        mg.io.save_safetensors(tmp_path / "x", arrays, metadata)
    assert_parts(raised.value, *parts)
    assert list(tmp_path.iterdir()) == []


# -- what is read ------------------------------------------------------------------


def made(entries, data=b"", text=None):
    text = json.dumps(entries).encode() if text is None else text
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="U8", shape=(2,), offsets=(0, 2)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    path = tmp_path / "x"
    values = np.array([1.0, -0.5, 3.0e38, np.inf], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    path.write_bytes(made({"a": entry("BF16", (4,), (0, 8))}, upper.tobytes()))
    read = mg.io.load_safetensors(path)["a"]
    expected = (upper.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(read, expected, strict=True)


@pytest.mark.parametrize("code", KINDS)
def test_every_dtype_has_its_size(code, tmp_path):
    path = tmp_path / "x"
    size = {"BOOL": 1, "BF16": 2}.get(code) or int(re.sub(r"\D", "", code)) // 8
    path.write_bytes(made({"a": entry(code, (2,), (0, 2 * size))}, b"\1" * 2 * size))
    assert mg.io.load_safetensors(path)["a"].shape == (2,)


def test_a_byte_of_a_boolean_is_true_or_false(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(made({"a": entry("BOOL", (3,), (0, 3))}, b"\0\1\7"))
    assert mg.io.load_safetensors(path)["a"].tolist() == [False, True, True]


def test_arrays_may_lie_in_another_order_than_the_header(tmp_path):
    path = tmp_path / "x"
    entries = {"a": entry(offsets=(2, 4)), "b": entry(offsets=(0, 2))}
    path.write_bytes(made(entries, b"\1\2\3\4"))
    read = mg.io.load_safetensors(path)
    assert {name: a.tolist() for name, a in read.items()} == {"a": [3, 4], "b": [1, 2]}
    assert list(read) == ["a", "b"]


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        mg.io.load_safetensors(tmp_path / "none")


def made_of_digits(count):
    return json.dumps({"a": entry()}).encode().replace(b"[2]", b"[%s]" % (b"9" * count))


TWICE = b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2)
UNSOUND = {
    "empty": (b"", "too early"),
    "half a length": (b"\0\0\0", "too early"),
    "header longer than the file": (
        (99).to_bytes(8, "little") + b"{}",
        "a header of 99",
    ),
    "no JSON": (made({}, text=b"hello"), "Expecting value"),
    "no UTF-8": (made({}, text=b'{"\xff": 1}'), "utf-8"),
    "a list": (made([]), "no JSON object"),
    "nested": (made({}, text=b'{"a":' + b"[" * 10**6), ""),
    "spaces first": (made({}, text=b"  {}"), "no JSON object"),
    "a name twice": (made({}, b"\1\2", TWICE), "twice"),
    "metadata": (made({"__metadata__": {"a": 1}}), "not texts"),
    "metadata as a list": (made({"__metadata__": []}), "not texts"),
    "no dictionary": (made({"a": 1}), "does not have dtype"),
    "a key more": (made({"a": {**entry(), "x": 1}}, b"\1\2"), "does not have dtype"),
    "a key less": (made({"a": {"dtype": "U8"}}), "does not have dtype"),
    "another dtype": (made({"a": entry("F8_E5M2")}, b"\1\2"), "'F8_E5M2'"),
    "a list as dtype": (made({"a": entry(["U8"])}, b"\1\2"), "not one of BOOL"),
    "shape of floats": (made({"a": entry(shape=[2.0])}, b"\1\2"), "no lists of sizes"),
    "shape of truth": (made({"a": entry(shape=[True, 2])}, b"\1\2"), "no lists"),
    "negative": (made({"a": entry(shape=[-2, -1])}, b"\1\2"), "no lists of sizes"),
    "one offset": (made({"a": entry(offsets=[0])}, b"\1\2"), "no lists of sizes"),
    "too few bytes": (made({"a": entry(shape=[3])}, b"\1\2"), "needs 3"),
    "end before begin": (made({"a": entry(offsets=[2, 0])}, b"\1\2"), "needs 2"),
    "beyond the file": (made({"a": entry()}, b"\1"), "but 1 follow"),
    "like a bomb": (
        made({"a": entry(shape=[10**15], offsets=(0, 10**15))}, b"\1"),
        "but 1 follow",
    ),
    "data left": (made({"a": entry()}, b"\1\2\3"), "but 3 follow"),
    "a hole first": (made({"a": entry(offsets=(1, 3))}, b"\1\2\3"), "a hole before"),
    "a hole between": (
        made({"a": entry(), "b": entry(offsets=(3, 5))}, b"\1" * 5),
        "a hole before 'b'",
    ),
    "an overlap": (
        made({"a": entry(), "b": entry(offsets=(1, 3))}, b"\1" * 3),
        "an overlap at 'b'",
    ),
    "a size of 4,300 digits": (
        made({}, text=made_of_digits(4300)),
        "no lists of sizes",
    ),
    "a size of 5,000 digits": (
        made({}, text=made_of_digits(5000)),
        "a number in it has thousands of digits",
    ),
    "a size beyond 64 bits": (made({"a": entry(shape=[2**63, 0])}), "no lists"),
    "endless and empty": (made({"a": entry(shape=[10**30, 0], offsets=(0, 0))}), ""),
    "too many axes": (made({"a": entry(shape=[1] * 99, offsets=(0, 1))}, b"\1"), ""),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_what_is_not_sound_is_refused(case, tmp_path):
    data, reason = UNSOUND[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.safetensors") as raised:
        mg.io.load_safetensors(path)
    assert_parts(
        raised.value, "read as a complete safetensors file", reason, "Fetch it again"
    )


def test_a_file_of_holes_is_not_believed(tmp_path):
    path, size = tmp_path / "x.safetensors", 3 * 10**9
    with open(path, "wb") as file:
        file.write(made({"a": entry("U8", (size,), (0, size))}))
        file.truncate(file.tell() + size)
    with pytest.raises(ValueError, match=r"what it holds would take 3\.0 GB"):
        mg.io.load_safetensors(path)


def test_a_pipe_is_no_safetensors_file(pipe):
    with pytest.raises(ValueError, match="is a pipe"):
        mg.io.load_safetensors(pipe)


def test_a_header_may_not_be_larger_than_the_format_allows(tmp_path):
    path = tmp_path / "x"
    with open(path, "wb") as file:
        file.write((LARGEST_HEADER + 1).to_bytes(8, "little"))
        file.truncate(LARGEST_HEADER + 100)  # takes no room on the disk
    with pytest.raises(ValueError, match=f"at most {LARGEST_HEADER}"):
        mg.io.load_safetensors(path)


WHOLE = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "c": 1.5}


@settings(max_examples=100)
@given(data=st.data())
def test_a_changed_byte_is_noticed_or_gives_arrays(scratch, data):
    mg.io.save_safetensors(scratch, WHOLE)
    whole = bytearray(scratch.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(whole)
    try:
        read = mg.io.load_safetensors(scratch)
    except ValueError:
        return
    assert all(isinstance(array, np.ndarray) for array in read.values())


@given(data=st.data())
def test_a_file_that_is_cut_off_is_refused(scratch, data):
    mg.io.save_safetensors(scratch, WHOLE)
    whole = scratch.read_bytes()
    scratch.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="read as a complete"):
        mg.io.load_safetensors(scratch)
