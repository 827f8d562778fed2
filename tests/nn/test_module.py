"""Does a module find, name, save and load its parameters, and complain clearly?"""

import copy
import functools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from tests.nn.reference import says


class Block(nn.Module):
    """Parameters and modules in a mixed order."""

    def __init__(self):
        self.second = nn.Linear(2, 3)
        self.scale = nn.Parameter(np.ones(3))
        self.first = nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.first(self.second(x) * self.scale)


NAMES = ["second.W", "second.b", "scale", "first.W"]


# Parameters


def test_parameter_is_a_copied_tensor_that_requires_gradients():
    array = np.zeros(3)
    parameter = nn.Parameter(array)
    array[:] = 1
    assert parameter.requires_grad
    assert isinstance(parameter, mg.Tensor)
    np.testing.assert_array_equal(parameter.numpy(), 0)
    assert nn.Parameter([1, 2]).dtype == np.float32
    assert nn.Parameter([1, 2], dtype="float64").dtype == np.float64


def test_operations_on_parameters_give_plain_tensors():
    parameter = nn.Parameter(np.ones(3))
    assert not isinstance(parameter * 2, nn.Parameter)
    assert not isinstance(parameter.detach(), nn.Parameter)


def test_parameters_come_in_assignment_order():
    assert [name for name, _ in Block().named_parameters()] == NAMES


def test_prefix_stands_before_every_name():
    assert [n for n, _ in Block().named_parameters("m")] == [f"m.{n}" for n in NAMES]
    names = [name for name, _ in Block().named_modules("m")]
    assert names == ["m", "m.second", "m.first"]


def test_assigning_again_keeps_the_place_and_none_takes_it_away():
    block = Block()
    block.scale = nn.Parameter(np.zeros(3))
    assert [name for name, _ in block.named_parameters()] == NAMES
    block.second.b = None
    assert [name for name, _ in block.named_parameters()] == [NAMES[0], *NAMES[2:]]


def test_shared_parameters_and_modules_come_once():
    block = Block()
    block.tied = nn.Linear(2, 3, bias=False)
    block.tied.W = block.second.W
    block.again = block.second
    block.itself = block
    assert [name for name, _ in block.named_parameters()] == NAMES
    assert list(block.modules()) == [block, block.second, block.first, block.tied]
    assert list(block.children()) == [block.second, block.first, block.tied, block]


def test_shared_parameters_get_both_gradients():
    layer = nn.Linear(1, 1, bias=False, dtype="float64")
    layer.W.data = np.array([[3.0]])
    twice = nn.Sequential(layer, layer)
    twice(np.ones((1, 1))).sum().backward()
    assert len(list(twice.parameters())) == 1
    assert layer.W.grad.item() == 6


def test_a_copy_has_parameters_of_its_own():
    block = Block()
    other = copy.deepcopy(block)
    other.scale.data = np.zeros(3)
    assert [name for name, _ in other.named_parameters()] == NAMES
    np.testing.assert_array_equal(block.scale.numpy(), 1)


def test_zero_grad_forgets_all_gradients():
    block = Block()
    block(np.ones((1, 2), "float32")).sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_to_moves_parameters_and_gradients_and_gives_the_module():
    block = Block()
    block(np.ones((1, 2), "float32")).sum().backward()
    before = {name: p.grad.numpy() for name, p in block.named_parameters()}
    assert block.to("cpu") is block
    for name, parameter in block.named_parameters():
        assert parameter.requires_grad
        np.testing.assert_array_equal(parameter.grad.numpy(), before[name])


# Freezing


def test_a_frozen_module_does_all_that_a_module_does():
    block = Block()
    block.scale.requires_grad = False
    block.first.requires_grad_(False)
    block(np.ones((1, 2), "float32")).sum().backward()
    grads = {name: p.grad for name, p in block.named_parameters()}
    assert grads["scale"] is grads["first.W"] is None
    assert grads["second.W"] is not None
    assert block.to("cpu") is block
    assert list(block.state_dict()) == NAMES
    state = {name: array + 1 for name, array in block.state_dict().items()}
    block.load_state_dict(state)
    for name, parameter in block.named_parameters():
        np.testing.assert_array_equal(parameter.numpy(), state[name])
        assert parameter.requires_grad == name.startswith("second")
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())
    assert block.requires_grad_() is block
    assert all(p.requires_grad for p in block.parameters())


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_of_a_frozen_module_are_frozen_and_share_as_it_does(again):
    block = Block()
    block.tied = nn.Linear(2, 3, bias=False)
    block.tied.W = block.second.W
    block.second.requires_grad_(False)
    block.scale.grad = np.ones(3)
    other = again(block)
    assert [name for name, _ in other.named_parameters()] == NAMES
    assert other.tied.W is other.second.W
    assert type(other.scale) is nn.Parameter
    wanted = [p.requires_grad for p in other.parameters()]
    assert wanted == [False, False, True, True]
    other.second.W.data = np.zeros((2, 3), "float32")
    assert block.second.W.numpy().any()


def test_a_parameter_may_be_frozen_from_the_start():
    block = Block()
    block.mean = nn.Parameter([1.0, 2.0], requires_grad=False)
    assert not block.mean.requires_grad
    assert "mean" in block.state_dict()
    assert any(p is block.mean for p in block.parameters())


def test_a_frozen_parameter_gets_no_gradient_from_a_graph_made_before():
    block = Block()
    loss = block(np.ones((1, 2), "float32")).sum()
    block.scale.requires_grad = False
    loss.backward()
    assert block.scale.grad is None
    block.scale.requires_grad = True
    assert block.scale.grad is None


# Attributes


def test_a_property_that_fails_shows_its_own_error():
    class Model(Block):
        @property
        def width(self):
            return self.second.W.shape[2]

        @property
        def depth(self):
            return self.scale.depht

        @functools.cached_property
        def height(self):
            return self.heigth

    with pytest.raises(AttributeError, match="'depht'"):
        _ = Model().depth
    with pytest.raises(AttributeError, match="Model has no attribute 'heigth'"):
        _ = Model().height
    with pytest.raises(IndexError):
        _ = Model().width


def test_a_mistyped_attribute_is_an_attribute_error_with_a_suggestion():
    with pytest.raises(AttributeError) as error:
        _ = Block().scael
    says(error, "Block has no attribute 'scael'", "Did you mean 'scale'?")
    with pytest.raises(AttributeError) as error:
        _ = Block().qqqqqq
    says(error, "Block has no attribute 'qqqqqq'", "Assign it in __init__")
    assert not hasattr(Block(), "nothing_like_it")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda item: [item],
        lambda item: (1, item),
        lambda item: {"key": item},
        lambda item: [{"key": [item]}],
        lambda item: {item},
    ],
)
@pytest.mark.parametrize("kind", ["Linear", "Parameter"])
def test_containers_that_would_hide_parameters_are_refused(wrap, kind):
    item = nn.Linear(1, 1) if kind == "Linear" else nn.Parameter(np.zeros(1))
    block = Block()
    with pytest.raises(TypeError) as error:
        block.layers = wrap(item)
    says(error, "Block.layers", f"holds a {kind}", "neither trained nor saved")
    says(error, "nn.Sequential(*modules)", "nn.ModuleList(modules)")
    assert not hasattr(block, "layers")


def test_a_list_that_is_filled_later_is_refused_when_parameters_are_asked_for():
    block = Block()
    block.layers = []
    block.layers.append(nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"Block\.layers is a list"):
        list(block.parameters())


def test_containers_of_other_things_are_ordinary_attributes():
    block = Block()
    block.sizes = [1, 2, {"a": (3,)}]
    block.sizes.append(block.sizes)
    assert [name for name, _ in block.named_parameters()] == NAMES


def test_a_module_without_forward_says_what_to_write():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError) as error:
        Empty()(1)
    says(error, "Empty has no forward", "def forward(self, x)")


def test_repr_shows_the_tree():
    shown = repr(nn.Sequential(nn.Linear(2, 3), mg.relu, nn.Linear(3, 1, bias=False)))
    assert shown == (
        "Sequential(\n  0: Linear(W (2, 3), b (3,))\n  2: Linear(W (3, 1))\n)"
    )


# Training and evaluation


def test_train_and_eval_reach_every_module():
    block = nn.Sequential(Block(), nn.Dropout(0.5))
    assert all(m.training for m in block.modules())
    assert block.eval() is block
    assert not any(m.training for m in block.modules())
    assert block.train() is block
    assert all(m.training for m in block.modules())


# State


def test_state_dict_copies():
    block = Block()
    state = block.state_dict()
    assert list(state) == NAMES
    assert all(type(array) is np.ndarray for array in state.values())
    state["scale"][:] = 7
    np.testing.assert_array_equal(block.scale.numpy(), 1)


def test_load_state_dict_copies_and_keeps_dtypes():
    source, target = Block(), Block()
    state = source.state_dict()
    state["scale"] = state["scale"].astype("float32") + 1
    target.load_state_dict(state)
    state["scale"][:] = 0
    np.testing.assert_array_equal(target.scale.numpy(), 2)
    assert target.scale.dtype == np.float64
    np.testing.assert_array_equal(target.first.W.numpy(), source.first.W.numpy())


def test_load_state_dict_keeps_the_parameters_themselves():
    block = Block()
    before = list(block.parameters())
    block.load_state_dict(Block().state_dict())
    after = list(block.parameters())
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert all(p.requires_grad for p in after)


def test_load_state_dict_takes_tensors_and_lists():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"W": mg.Tensor([[1.0], [2.0]]), "b": [3.0]})
    np.testing.assert_array_equal(layer.W.numpy(), [[1], [2]])
    np.testing.assert_array_equal(layer.b.numpy(), [3])


def test_load_state_dict_names_every_problem_and_changes_nothing():
    block = Block()
    before = block.state_dict()
    state = {name: array + 1 for name, array in block.state_dict().items()}
    del state["scale"], state["second.b"]
    state["scael"] = np.ones(3)
    state["third.W"] = np.ones(1)
    state["first.W"] = np.ones((2, 3))
    with pytest.raises(ValueError, match="load_state_dict") as error:
        block.load_state_dict(state)
    says(error, "Block", "nothing was loaded", "missing: second.b, scale")
    says(error, "unexpected: scael, third.W")
    says(error, "misshapen: first.W (expected (3, 2), the state has (2, 3))")
    says(error, "Build the module as it was")
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "value",
    [
        np.full((3, 2), "word"),
        np.full((3, 2), 1j),
        np.full((3, 2), None),
        [[1.0, 2.0], [3.0], [4.0]],
        None,
    ],
)
def test_load_state_dict_changes_nothing_for_values_that_are_no_numbers(value):
    block = Block()
    before = block.state_dict()
    state = {name: array + 1 for name, array in before.items()} | {"first.W": value}
    for method in (block.check_state_dict, block.load_state_dict):
        with pytest.raises(ValueError, match="nothing was loaded") as error:
            method(state)
        kind = type(value).__name__
        says(error, f"not an array of real numbers: first.W (a {kind})")
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_state_is_checked_without_being_loaded():
    block = Block()
    before = block.state_dict()
    block.check_state_dict({name: array + 1 for name, array in before.items()})
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("state", [None, "weights.h5", [("scale", 1)], Block()])
def test_a_state_is_a_dictionary(state):
    for method in (Block().check_state_dict, Block().load_state_dict):
        with pytest.raises(TypeError, match=r"Block\.load_state_dict") as error:
            method(state)
        says(error, f"is a {type(state).__name__}", "as state_dict() gives it")


def test_a_key_may_be_anything():
    with pytest.raises(ValueError, match="unexpected: 7"):
        nn.Linear(1, 1).load_state_dict({7: np.ones(1)})


# Modules in rows


def test_sequential_applies_modules_and_functions_in_turn():
    model = nn.Sequential(nn.Linear(2, 3), mg.relu, nn.Linear(3, 1))
    x = mg.Tensor([[1.0, -2.0]])
    expected = model[2](mg.relu(model[0](x)))
    np.testing.assert_array_equal(model(x).numpy(), expected.numpy())
    assert [n for n, _ in model.named_parameters()] == ["0.W", "0.b", "2.W", "2.b"]


def test_module_list_holds_modules_whose_parameters_are_found():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers.append(nn.Linear(2, 1))
    assert len(layers) == 4
    assert layers[-1] is list(layers)[3]
    assert [n for n, _ in layers.named_parameters()][-1] == "3.b"


def test_rows_refuse_what_cannot_be_called():
    with pytest.raises(TypeError) as error:
        nn.Sequential([nn.Linear(1, 1)])
    says(error, "Sequential: layer 0 is a list", "cannot be called")
    says(error, "Sequential(*layers)")


@given(depth=st.integers(1, 4), width=st.integers(1, 4), seed=st.integers(0, 99))
def test_state_survives_the_way_out_and_back(depth, width, seed):
    def build(generator):
        layers = (nn.Linear(width, width, generator=generator) for _ in range(depth))
        return nn.Sequential(*layers)

    source, target = build(mg.Generator(seed)), build(mg.Generator(seed + 1))
    target.load_state_dict(source.state_dict())
    x = mg.ones((2, width))
    np.testing.assert_array_equal(source(x).numpy(), target(x).numpy())
