"""Is a checkpoint read back as it was written, and never left half written?"""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import nn
from tests.edited import edited
from tests.minigrad.helpers import assert_parts

ARRAYS = hnp.arrays(
    st.sampled_from(["float32", "float64", "int64", "bool", "float16"]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
)
VALUES = st.one_of(
    ARRAYS, st.integers(-9, 9), st.booleans(), st.text(max_size=5), st.none()
)
KEYS = st.one_of(st.text(max_size=6), st.just("cell.W/x"), st.integers(0, 9))
STATES = st.dictionaries(KEYS, st.one_of(VALUES, st.dictionaries(KEYS, VALUES)))


class Stateful:
    """Anything with a state dictionary."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def assert_same(ours, theirs):
    """Compare nested states: order, keys, dtypes, shapes and values."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, np.ndarray):
        assert type(ours) is np.ndarray
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs
        assert type(ours) is type(theirs)


@settings(max_examples=25)
@given(model=STATES, optimizer=STATES, step=st.integers(0, 2**40))
def test_every_state_comes_back_as_it_was(tmp_path_factory, model, optimizer, step):
    path = tmp_path_factory.mktemp("checkpoint") / "c.h5"
    mg.save_checkpoint(
        path, model=Stateful(model), optimizer=Stateful(optimizer), step=step
    )
    read = mg.load_checkpoint(path)
    assert_same(read.model, model)
    assert_same(read.optimizer, optimizer)
    assert read.step == step


def trained(seed):
    """A model that has taken three steps of Adam."""
    model = nn.Linear(3, 2, generator=mg.Generator(seed))
    optimizer = nn.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    optimizer.zero_grad()
    loss = (model(mg.ones((4, 3))) ** 2).sum()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_training_goes_on_as_if_never_stopped(tmp_path):
    model, optimizer = trained(0)
    generator = mg.Generator(3)
    generator.normal(7)
    path = tmp_path / "run.h5"
    mg.save_checkpoint(
        path,
        model=model,
        optimizer=optimizer,
        step=3,
        generator=generator,
        config={"hidden": 512, "words": ["a", "b"]},
        extra={"best": 0.25},
    )
    other, other_optimizer = trained(1)
    other_generator = mg.Generator(9)
    read = mg.load_checkpoint(
        path, model=other, optimizer=other_optimizer, generator=other_generator
    )
    assert read.config == {"hidden": 512, "words": ["a", "b"]}
    assert read.extra == {"best": 0.25}
    assert [step(other, other_optimizer) for _ in range(3)] == [
        step(model, optimizer) for _ in range(3)
    ]
    np.testing.assert_array_equal(other_generator.normal(5), generator.normal(5))


def test_the_generators_state_is_plain_data(tmp_path):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, generator=mg.Generator(3))
    json.dumps(mg.load_checkpoint(path).generator)


# -- whole or not at all -----------------------------------------------------------


class DiskFullError(OSError):
    pass


def fail(*args, **kwargs):
    raise DiskFullError("no space left on device")


FAILURES = {
    "while writing": (h5py.Group, "create_dataset"),
    "while flushing": (os, "fsync"),
    "while renaming": (os, "replace"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_write_leaves_the_old_file_and_no_other(name, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, model=Stateful({"W": np.ones(3)}), step=1)
    with monkeypatch.context() as patch:
        patch.setattr(*FAILURES[name], fail)
        with pytest.raises(DiskFullError):
            mg.save_checkpoint(path, model=Stateful({"W": np.zeros(3)}), step=2)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
    read = mg.load_checkpoint(path)
    assert read.step == 1
    np.testing.assert_array_equal(read.model["W"], 1)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, step=1)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mg.save_checkpoint(path, step=2)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
    assert mg.load_checkpoint(path).step == 1


def test_the_name_appears_only_when_the_file_is_complete(tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    replace, seen = os.replace, []

    def watched(source, target):
        seen.append(path.exists())
        assert mg.load_checkpoint(source).step == 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    mg.save_checkpoint(path, step=1)
    assert seen == [False]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    path, usual = tmp_path / "run.h5", tmp_path / "usual"
    usual.touch()
    mg.save_checkpoint(path)
    assert path.stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("config", [{"a": object()}, {"a": np.ones(2)}, {"a": {1, 2}}])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(TypeError):
        mg.save_checkpoint(tmp_path / "run.h5", config=config)
    assert list(tmp_path.iterdir()) == []


# -- files that are none -----------------------------------------------------------


def complete(path):
    mg.save_checkpoint(path, model=Stateful({"W": np.ones(1000)}))
    return path.read_bytes()


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.ones(3)
    return path.read_bytes()


def other_format(path):
    return complete(path).replace(mg.io.checkpoints.FORMAT.encode(), b"minigrad 99")


def without_states(path):
    complete(path)
    with edited(path) as file:
        del file["model"]
    return path.read_bytes()


def without_header(path):
    complete(path)
    with edited(path) as file:
        del file.attrs["header"]
    return path.read_bytes()


CORRUPT = {
    "empty": lambda path: b"",
    "text": lambda path: b"hello",
    "cut off": lambda path: complete(path)[:3000],
    "another HDF5 file": other_hdf5,
    "another format": other_format,
    "states missing": without_states,
    "header missing": without_header,
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_file_that_is_no_checkpoint_says_so(name, tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(CORRUPT[name](tmp_path / "other.h5"))
    with pytest.raises(ValueError, match=r"run\.h5") as raised:
        mg.load_checkpoint(path)
    assert_parts(raised.value, "not a complete minigrad checkpoint", "Use another")


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_file_with_one_bit_changed_is_refused(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("damaged") / "c.h5"
    content = bytearray(complete(path))
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a complete minigrad checkpoint"):
        mg.load_checkpoint(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        mg.load_checkpoint(tmp_path / "none.h5")
    assert_parts(raised.value, "no checkpoint", "none.h5", "Check the path")


def test_a_checkpoint_of_another_model_names_what_differs(tmp_path):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, model=nn.Linear(3, 2))
    with pytest.raises(ValueError, match="W"):
        mg.load_checkpoint(path, model=nn.Linear(4, 2))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        mg.save_checkpoint(tmp_path / "nowhere" / "run.h5")
