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


# -- what can be saved -------------------------------------------------------------

NOT_SAVED = {
    "a state": ({"model": {"W": np.ones(2)}}, "model is a dict", "not its state"),
    "a class": ({"model": nn.Linear}, "model is a type", "the object itself"),
    "a list": ({"optimizer": [1]}, "optimizer is a list", "an optimiser"),
    "NumPy's generator": (
        {"generator": np.random.default_rng()},
        "generator is a Generator",
        "a minigrad.Generator",
    ),
    "a set": ({"config": {"a": {1}}}, "config cannot be written as JSON", "plain data"),
    "a list in itself": ({"extra": {"a": []}}, "extra cannot be written", "plain data"),
    "an array of texts": (
        {"model": Stateful({"W": np.array(["a"])})},
        "'W' is <U1",
        "arrays of numbers",
    ),
    "an array of objects": (
        {"model": Stateful({"a": {"W": np.array([None])}})},
        "'W' is object",
        "arrays of numbers",
    ),
    "an object": ({"model": Stateful({"W": {1}})}, "'W' cannot be", "plain data"),
    "a tuple as key": ({"model": Stateful({(1,): 1})}, "a tuple is a key", "Use texts"),
}


@pytest.mark.parametrize("name", NOT_SAVED)
def test_what_cannot_be_saved_is_refused_by_name(name, tmp_path):
    given, *parts = NOT_SAVED[name]
    if name == "a list in itself":
        given["extra"]["a"].append(given["extra"]["a"])
    with pytest.raises(TypeError) as raised:
        mg.save_checkpoint(tmp_path / "run.h5", **given)
    assert_parts(raised.value, *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["model", "optimizer", "generator"])
def test_what_nothing_can_be_loaded_into_is_refused(part, tmp_path):
    mg.save_checkpoint(tmp_path / "run.h5")
    with pytest.raises(TypeError, match=f"{part} is a dict, but must be a"):
        mg.load_checkpoint(tmp_path / "run.h5", **{part: {}})


def test_tensors_of_a_state_are_saved(tmp_path):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, model=Stateful({"W": mg.ones(2, requires_grad=True)}))
    np.testing.assert_array_equal(mg.load_checkpoint(path).model["W"], [1, 1])


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
    assert_parts(raised.value, "read as a complete minigrad checkpoint", "Use another")


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_file_with_one_bit_changed_is_refused(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("damaged") / "c.h5"
    content = bytearray(complete(path))
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(ValueError, match="read as a complete minigrad checkpoint"):
        mg.load_checkpoint(path)


# -- the right checksum over odd content -------------------------------------------


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def header(**change):
    def act(file):
        content = json.loads(file.attrs["header"]) | change
        content = {name: part for name, part in content.items() if part is not ...}
        file.attrs["header"] = json.dumps(content)

    return act


def at_w(act):
    """Put something else in the place of the weights."""

    def change(file):
        del file["model/0"]
        act(file["model"])
        if isinstance(file["model"].get("0", getlink=True), h5py.HardLink):
            file["model/0"].attrs["key"] = json.dumps("W")

    return change


def doubled(file):
    """Groups of which each holds the last one twice: 2 ** 200 of them, all in all."""
    last = file.create_group("last")
    for i in range(200):
        group = file.create_group(f"g{i}")
        for name in ("0", "1"):
            group[name] = last
        last.attrs["key"] = "1"
        last = group
    del file["model"]
    file["model"] = last


def deep(file):
    group = file["model/0"].parent
    del group["0"]
    for _ in range(2000):
        group = group.create_group("0")
        group.attrs["key"] = "1"


def one_array_many_times(group):
    del group["1"]
    group["0"] = np.zeros(100)
    for i in range(1, 30):
        group[str(i)] = group["0"]


def virtual(group):
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("missing.h5", "a", (2,))
    group.create_virtual_dataset("0", layout)


def json_of(value, **settings):
    def act(group):
        group.create_dataset("0", data=value, **settings).attrs["json"] = True

    return act


ODD = {
    "a header of numbers": (attribute("header", 3), "'header' in it is no text"),
    "a header of many texts": (attribute("header", ["{}"] * 3), "is no text"),
    "a header that is no JSON": (attribute("header", "hello"), "Expecting value"),
    "a header of NaN": (attribute("header", "NaN"), "its header does not have step"),
    "a header that is nested": (attribute("header", "[" * 10**5), "nested too deeply"),
    "a header of digits": (attribute("header", "1" * 5000), "thousands of digits"),
    "another header": (attribute("header", "{}"), "its header does not have step"),
    "no step": (header(step=...), "its header does not have step"),
    "a part more": (header(a=1), "its header does not have step"),
    "a step of truth": (header(step=True), "its step is a bool"),
    "a step of letters": (header(step="1"), "its step is a str"),
    "a config of texts": (header(config=["a"]), "its config is a list"),
    "extra is missing": (header(extra=None), "its extra is a NoneType"),
    "a generator's name": (header(generator="a"), "its generator is a str"),
    "weights missing": (at_w(lambda group: None), "'0' is missing"),
    "no key": (
        lambda file: file["model/0"].attrs.__delitem__("key"),
        "attribute 'key' is missing",
    ),
    "a list as key": (
        lambda file: file["model/0"].attrs.__setitem__("key", "[1]"),
        "another kind than expected",
    ),
    "a key twice": (
        lambda file: file["model/0"].attrs.__setitem__("key", '"b"'),
        "a key stands twice",
    ),
    "virtual weights": (at_w(virtual), "'0' in it is virtual"),
    "external weights": (
        at_w(lambda g: g.create_dataset("0", (2,), "f4", external="/etc/hostname")),
        "external storage",
    ),
    "weights behind a link": (
        at_w(lambda g: g.__setitem__("0", h5py.ExternalLink("a.h5", "/a"))),
        "a link to something",
    ),
    "a state behind a link": (
        lambda f: f.move("model", "m") or f.__setitem__("model", h5py.SoftLink("/m")),
        "a link to something",
    ),
    "weights never written": (
        at_w(lambda g: g.create_dataset("0", (10**12,), "f4")),
        "was never written",
    ),
    "weights of texts": (at_w(lambda g: g.create_dataset("0", data=["a"])), "not num"),
    "many texts": (at_w(json_of(["1"] * 3)), "is no text"),
    "a number as text": (at_w(json_of(3)), "is no text"),
    "a short text": (at_w(json_of("{")), "Expecting property"),
    "a type as weights": (
        at_w(lambda g: g.__setitem__("0", np.dtype("f4"))),
        "",
    ),
    "a state in itself": (
        lambda file: (
            file["model"].move("0", "a")
            or file["model"].__setitem__("0", file["model"])
            or file["model"].attrs.__setitem__("key", "1")
        ),
        "stands at two places",
    ),
    "states doubled": (doubled, "stands at two places"),
    "states nested": (deep, "nested too deeply"),
    "one array many times": (at_w(one_array_many_times), "stands at two places"),
    "a state that is an array": (
        lambda file: file.move("model", "m") or file.__setitem__("model", [1.0]),
        "",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_content_under_the_right_checksum_is_refused(name, tmp_path):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, model=nn.Linear(3, 2, generator=mg.Generator(0)))
    act, words = ODD[name]
    with edited(path) as file:
        act(file)
    with pytest.raises(ValueError, match=r"run\.h5") as raised:
        mg.load_checkpoint(path)
    assert_parts(raised.value, "read as a complete minigrad checkpoint: ", words)


def test_a_pipe_is_no_checkpoint(pipe):
    with pytest.raises(ValueError, match="is a pipe"):
        mg.load_checkpoint(pipe)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        mg.load_checkpoint(tmp_path / "none.h5")
    assert_parts(raised.value, "no checkpoint", "none.h5", "Check the path")


# -- all is loaded, or nothing -----------------------------------------------------


def saved_run(path):
    """A checkpoint of a model, its optimiser and a generator."""
    model, optimizer = trained(0)
    mg.save_checkpoint(
        path, model=model, optimizer=optimizer, generator=mg.Generator(3)
    )


def linear(*sizes):
    return nn.Linear(*sizes, generator=mg.Generator(1))


def put(part, key, value):
    """Change one value of a saved state; its checksum fits again."""

    def act(path):
        read = mg.load_checkpoint(path)
        states = {"model": read.model, "optimizer": read.optimizer}
        states[part][key] = value
        if value is None:
            del states[part][key]
        states = {name: Stateful(state) for name, state in states.items()}
        mg.save_checkpoint(path, **states, generator=mg.Generator(3))

    return act


def other_generator(**change):
    def act(path):
        class Odd(mg.Generator):
            def get_state(self):
                return {**super().get_state(), **change}

        read = mg.load_checkpoint(path)
        mg.save_checkpoint(
            path,
            model=Stateful(read.model),
            optimizer=Stateful(read.optimizer),
            generator=Odd(3),
        )

    return act


def without_generator(path):
    read = mg.load_checkpoint(path)
    mg.save_checkpoint(
        path, model=Stateful(read.model), optimizer=Stateful(read.optimizer)
    )


def adam(model):
    return nn.Adam(model.parameters(), lr=0.1)


def sgd(model):
    return nn.SGD(model.parameters(), lr=0.1)


def as_saved(path):
    """Leave the file as it is."""


MISFITS = {
    "another optimiser": (as_saved, (3, 2), sgd),
    "an optimiser of other parameters": (
        as_saved,
        (3, 2),
        lambda m: adam(linear(4, 2)),
    ),
    "an optimiser of more": (
        as_saved,
        (3, 2),
        lambda m: nn.Adam([*linear(5, 5).parameters(), *m.parameters()]),
    ),
    "another model": (as_saved, (3, 4), lambda m: adam(linear(3, 2))),
    "a key less": (put("model", "b", None), (3, 2), adam),
    "a key more": (put("model", "c", np.ones(2)), (3, 2), adam),
    "a text as weights": (put("model", "W", "W"), (3, 2), adam),
    "a dictionary as weights": (put("model", "W", {"a": 1}), (3, 2), adam),
    "a ragged list as weights": (put("model", "W", [[1], 2]), (3, 2), adam),
    "no optimiser's name": (put("optimizer", "optimizer", {}), (3, 2), adam),
    "a moment less": (put("optimizer", "0.m", None), (3, 2), adam),
    "a moment of texts": (put("optimizer", "0.m", [["a"] * 2] * 3), (3, 2), adam),
    "a moment that is a dictionary": (put("optimizer", "0.m", {}), (3, 2), adam),
    "no step": (put("optimizer", "1.step", []), (3, 2), adam),
    "a rate that is a list": (put("optimizer", "lr", [0.1]), (3, 2), adam),
    "a rate below zero": (put("optimizer", "lr", -1.0), (3, 2), adam),
    "a setting that is a text": (put("optimizer", "beta2", "high"), (3, 2), adam),
    "a setting that is a dictionary": (put("optimizer", "eps", {}), (3, 2), adam),
    "no generator": (without_generator, (3, 2), adam),
    "another generator": (other_generator(generator="mt19937"), (3, 2), adam),
    "a generator's odd state": (other_generator(key=[1]), (3, 2), adam),
    "a generator beyond its numbers": (
        other_generator(draws=2**200),
        (3, 2),
        adam,
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_where_one_part_does_not_fit_nothing_is_loaded(name, tmp_path):
    change, shape, make_optimizer = MISFITS[name]
    path = tmp_path / "run.h5"
    saved_run(path)
    change(path)
    model = linear(*shape)
    optimizer = make_optimizer(model)
    optimizer.lr = 0.5
    generator = mg.Generator(8)
    before = [model.state_dict(), optimizer.state_dict(), generator.get_state()]
    with pytest.raises(ValueError, match=r".*\.") as raised:
        mg.load_checkpoint(path, model=model, optimizer=optimizer, generator=generator)
    assert str(raised.value).endswith(".")
    after = [model.state_dict(), optimizer.state_dict(), generator.get_state()]
    for ours, theirs in zip(after, before, strict=True):
        assert_same(ours, theirs)


class Breaking(Stateful):
    """Takes over half of a state before it raises."""

    def __init__(self, error):
        super().__init__({"whole": 1})
        self.error = error

    def load_state_dict(self, state):
        self.state = state
        if "whole" not in state:
            raise self.error


@pytest.mark.parametrize("part", ["model", "optimizer"])
@pytest.mark.parametrize("error", [KeyError, RuntimeError, KeyboardInterrupt])
def test_not_even_half_of_a_part_is_loaded(error, part, tmp_path):
    path = tmp_path / "run.h5"
    saved_run(path)
    parts = {"model": linear(3, 2), "optimizer": Stateful({"other": 1})}
    parts[part] = Breaking(error)
    before = {name: value.state_dict() for name, value in parts.items()}
    expected = KeyboardInterrupt if error is KeyboardInterrupt else ValueError
    with pytest.raises(expected):
        mg.load_checkpoint(path, **parts)
    assert_same({name: value.state_dict() for name, value in parts.items()}, before)


class Checking(Stateful):
    """Says itself what does not fit."""

    def check_state_dict(self, state):
        if state.get("optimizer") != "SGD":
            raise ValueError("another optimiser. Take that one.")


def test_what_can_be_checked_is_checked_before_anything_is_loaded(
    tmp_path, monkeypatch
):
    path = tmp_path / "run.h5"
    saved_run(path)
    model = linear(3, 2)
    monkeypatch.setattr(model, "load_state_dict", pytest.fail)
    for parts in (
        {"model": model, "optimizer": Checking({})},
        {"model": Checking({}), "optimizer": model},
    ):
        with pytest.raises(ValueError, match=r"another optimiser|does not fit"):
            mg.load_checkpoint(path, **parts)


def test_a_checkpoint_of_another_model_names_what_differs(tmp_path):
    path = tmp_path / "run.h5"
    mg.save_checkpoint(path, model=nn.Linear(3, 2))
    with pytest.raises(ValueError, match="W"):
        mg.load_checkpoint(path, model=nn.Linear(4, 2))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        mg.save_checkpoint(tmp_path / "nowhere" / "run.h5")
