"""Does a training run go on, bit for bit, when it moves from device to device?"""

from __future__ import annotations

import contextlib
import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.testing import strict  # noqa: F401  (registers its devices)
from tests.minigrad.fake_cupy import installed, two_gpus

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


@pytest.fixture(params=["strict:1", "cuda:1"])
def device(request):
    """A device beside the CPU; the GPU is a fake."""
    fake = request.param == "cuda:1"
    with installed(two_gpus()) if fake else contextlib.nullcontext():
        yield request.param


def make(kind="Adam"):
    generator = mg.Generator(0)
    model = nn.Sequential(
        nn.Linear(3, 4, generator=generator),
        mg.tanh,
        nn.Dropout(0.5, generator=generator),
        nn.Linear(4, 1, generator=generator),
    )
    settings = {"SGD": {"lr": 0.1, "momentum": 0.9}}.get(kind, {"lr": 0.1})
    return model, getattr(nn, kind)(model.parameters(), **settings), generator


def train(model, optimizer, steps=3):
    for _ in range(steps):
        x = mg.asarray(X).to(model[0].W.device)
        loss = (model(x) * model(x)).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def bits(model, optimizer):
    states = {**model.state_dict(), **optimizer.state_dict()}
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else value
        for name, value in states.items()
    }


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_there_and_back_training_goes_on_bit_for_bit(device, kind):
    moved, optimizer, _ = make(kind)
    stayed, other, _ = make(kind)
    for place in ("cpu", device, "cpu"):
        assert moved.to(place) is moved
        train(moved, optimizer)
        train(stayed, other)
        assert {p.device for p in moved.parameters()} == {place}
        assert bits(moved, optimizer) == bits(stayed, other)


def test_moving_keeps_the_parameters_and_takes_the_gradients_along(device):
    model, _, _ = make()
    model(X).sum().backward()
    before = list(model.parameters())
    gradients = [p.grad.numpy().copy() for p in before]
    model.to(device)
    for parameter, old, gradient in zip(
        model.parameters(), before, gradients, strict=True
    ):
        assert parameter is old
        assert parameter.requires_grad
        assert parameter.grad.device == parameter.device == device
        np.testing.assert_array_equal(parameter.grad.numpy(), gradient)


def test_auto_moves_all_parameters_to_one_device():
    with installed(two_gpus()) as gpus:

        def memory_of_a_busy_machine():
            found = gpus.memory[gpus.current]
            if gpus.current == 1:  # the last one: by the next look the other has more
                gpus.memory.reverse()
            return found

        gpus.cuda.runtime.memGetInfo = memory_of_a_busy_machine
        model, _, _ = make()
        model.to("auto")
        assert len({p.device for p in model.parameters()}) == 1


def test_a_move_that_fails_leaves_everything_where_it_was():
    model, _, _ = make()
    model(X).sum().backward()
    with installed(two_gpus()), pytest.raises(RuntimeError, match="2 GPUs"):
        model.to("cuda:2")
    assert {p.device for p in model.parameters()} == {"cpu"}
    with installed(two_gpus()) as gpus:
        asarray, calls = gpus.asarray, []

        def full_at_the_last_gradient(array):
            calls.append(array)
            if len(calls) == 8:
                raise MemoryError("out of memory")
            return asarray(array)

        gpus.asarray = full_at_the_last_gradient
        with pytest.raises(MemoryError):
            model.to("cuda")
        assert len(calls) == 8
        assert {p.device for p in model.parameters()} == {"cpu"}


@pytest.mark.parametrize("loaded_on_cpu", [True, False])
def test_a_checkpoint_moves_between_devices(device, tmp_path, loaded_on_cpu):
    first, second = (device, "cpu") if loaded_on_cpu else ("cpu", device)
    model, optimizer, generator = make()
    train(model.to(first), optimizer)
    path = tmp_path / "checkpoint.h5"
    mg.save_checkpoint(path, model=model, optimizer=optimizer, generator=generator)
    train(model, optimizer)

    other, its, draws = make()
    other.to(second)
    mg.load_checkpoint(path, model=other, optimizer=its, generator=draws)
    assert {p.device for p in other.parameters()} == {second}
    train(other, its)
    assert bits(other, its) == bits(model, optimizer)


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_on_the_same_device(device, again, leaf):
    x = mg.Tensor([1.0, 2.0], device=device, requires_grad=leaf)
    y = again(x)
    assert (y.device, y.requires_grad) == (device, leaf)
    assert y.data is not x.data
    np.testing.assert_array_equal(y.numpy(), x.numpy())


def test_a_copied_model_trains_on_its_own(device):
    model, optimizer, _ = make()
    train(model.to(device), optimizer)
    before = model.state_dict()
    other = copy.deepcopy(model)
    train(other, nn.Adam(other.parameters()))
    assert {p.device for p in other.parameters()} == {device}
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
