"""Does minigrad compute, step by step, what PyTorch computed once? Needs no PyTorch.

The values were written by `python -m scripts.make_torch_fixtures`.
"""

import inspect as python_inspect

import pytest

import nn
from tests.interop import cases, minigrad_side

FIXTURES = {group: cases.read_fixture(group) for group in cases.GROUPS}

# What of `nn` is not compared with PyTorch, and why not.
REASONS = {
    "Schedule": "the base class of the schedules",
    "SinusoidalPositions": "PyTorch has no such layer",
    "LSTMState": "the two arrays that an LSTM carries",
    "Module": "a base class without computation",
    "Optimizer": "a base class without computation",
    "Parameter": "a Tensor",
    "functional": "a module, whose functions the layers call",
    "init": "a module; its numbers are random",
    "load_torch_state_dict": "loads the weights of every case",
    "unroll": "the loop that the recurrent layers are",
    "torch_state_dict": "gives the weights that every case compares",
}


@pytest.mark.parametrize(("group", "name"), cases.ALL)
def test_it_computes_what_pytorch_computed(group, name):
    ours = cases.run(minigrad_side, group, name)
    cases.compare(ours, FIXTURES[group][name])


@pytest.mark.parametrize("group", cases.GROUPS)
def test_the_fixtures_are_those_of_the_cases(group):
    _, known = cases.GROUPS[group]
    assert list(FIXTURES[group]) == list(known), "run scripts/make_torch_fixtures.py"


def test_the_fixtures_are_small():
    assert sum(p.stat().st_size for p in cases.FIXTURES.iterdir()) < 350_000


def names_compared():
    """The names of `nn` that a case runs."""
    trained = [*cases.LAYERS.values(), *cases.LOSSES.values()]
    trained += cases.OPTIMIZERS.values()
    for case in trained:
        module = minigrad_side.LAYERS[case.layer].make()
        yield from (type(part).__name__ for part in module.modules())
        yield case.loss.split()[0]
        optimizer = minigrad_side.OPTIMIZERS[case.optimizer]([nn.Parameter([1.0])])
        yield type(optimizer).__name__
        if case.schedule:
            yield type(minigrad_side.SCHEDULES[case.schedule](optimizer)).__name__
        if case.clip:
            yield "clip_grad_norm"


def test_everything_in_nn_is_compared_or_has_a_reason():
    compared = set(names_compared())
    public = set(nn.__all__) | losses()
    missing = sorted(public - compared - set(REASONS))
    assert not missing, f"add cases in tests/interop for {missing}, or a reason"
    assert not compared & set(REASONS), "it is compared: drop its reason"
    assert set(REASONS) <= public, "a reason for what is not there"


def losses():
    members = python_inspect.getmembers(nn.losses, python_inspect.isfunction)
    return {
        name
        for name, function in members
        if function.__module__ == "nn.losses" and not name.startswith("_")
    }


def test_a_difference_is_seen():
    group, name = "layers", "LSTM"
    record = {key: array.copy() for key, array in FIXTURES[group][name].items()}
    for array in record.values():
        array.reshape(-1)[-1] += 1e-8
        with pytest.raises(AssertionError):
            cases.compare(FIXTURES[group][name], record)
        array.reshape(-1)[-1] -= 1e-8
