"""Do the optimisers follow their papers, in place, in tiles, and across a restart?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from nn import updates
from tests.devices import put
from tests.nn.reference import says

pytestmark = pytest.mark.usefixtures("device")


seeds = st.integers(0, 2**16)


# What the papers say, written as they write it


def sgd(p, grads, lr, momentum=0.0, weight_decay=0.0):
    v = np.zeros_like(p)
    for g in grads:
        v = momentum * v + g + weight_decay * p
        p = p - lr * v
    return p


def adam(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, gradient in enumerate(grads, start=1):
        g = gradient + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


def adamw(p, grads, lr=1e-3, weight_decay=0.01, **settings):
    m, v = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = settings.get("betas", (0.9, 0.999))
    for t, g in enumerate(grads, start=1):
        p = p - lr * weight_decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + settings.get("eps", 1e-8))
    return p


RULES = [
    (nn.SGD, sgd, {"lr": 0.1}),
    (nn.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (nn.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (nn.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3}),
    (nn.Adam, adam, {}),
    (nn.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.1}),
    (nn.Adam, adam, {"lr": 0.1, "weight_decay": 0.3}),
    (nn.AdamW, adamw, {}),
    (nn.AdamW, adamw, {"lr": 0.1, "betas": (0.5, 0.8), "weight_decay": 0.3}),
    (nn.AdamW, adamw, {"lr": 0.1, "eps": 0.1, "weight_decay": 0.0}),
]
OPTIMISERS = [
    lambda params: nn.SGD(params, lr=0.1),
    lambda params: nn.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1),
    lambda params: nn.Adam(params, lr=0.1, weight_decay=0.1),
    lambda params: nn.AdamW(params, lr=0.1),
]


reordered = pytest.mark.only_cpu("a copy to a device runs forwards again")


def backwards_in_memory(array):
    """Return the same numbers, laid out from the last to the first."""
    return array[::-1, ::-1].copy()[::-1, ::-1]


def train(optimiser, grads):
    for g in grads:
        optimiser.update(put([g]))
    return optimiser.params[0].numpy()


@pytest.mark.parametrize(("kind", "rule", "settings"), RULES)
@given(seed=seeds, steps=st.integers(1, 6))
def test_updates_follow_the_paper(kind, rule, settings, seed, steps):
    rng = np.random.default_rng(seed)
    start, grads = rng.standard_normal((3, 4)), rng.standard_normal((steps, 3, 4))
    parameter = put(nn.Parameter(start))
    ours = train(put(kind([parameter], **({"lr": 1e-3} | settings))), grads)
    expected = rule(start, grads, **settings)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("build", OPTIMISERS)
@pytest.mark.parametrize("size", [1, 6, 7, 8, 20])
def test_tiles_do_not_show(build, size, monkeypatch):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(size), rng.standard_normal((4, size))
    whole = train(build([put(nn.Parameter(start))]), grads)
    monkeypatch.setattr(updates, "TILE", 7)
    np.testing.assert_array_equal(
        train(build([put(nn.Parameter(start))]), grads), whole
    )


@pytest.mark.parametrize("build", OPTIMISERS)
def test_a_parameter_larger_than_a_tile_is_updated_to_its_end(build):
    parameter = put(nn.Parameter(np.ones(2 * updates.TILE + 5, np.float32)))
    after = train(build([parameter]), [np.ones(parameter.shape, np.float32)])
    assert (after == after[0]).all()
    assert after[0] < 1


@pytest.mark.parametrize("build", OPTIMISERS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 3, 4)])
def test_any_shape_can_be_trained(build, shape):
    parameter = put(nn.Parameter(np.ones(shape)))
    after = train(build([parameter]), [np.ones(shape)])
    assert after.shape == shape
    assert (after < 1).all()


@pytest.mark.parametrize("build", OPTIMISERS)
@pytest.mark.parametrize(
    "arrange", [np.asfortranarray, pytest.param(backwards_in_memory, marks=reordered)]
)
def test_layout_in_memory_does_not_show(build, arrange):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal((4, 5)), rng.standard_normal((3, 4, 5))
    expected = train(build([put(nn.Parameter(start))]), grads)
    array = arrange(start)
    parameter = put(nn.Parameter(start))
    parameter.data = put(array)
    kept = parameter.data
    assert not parameter.data.flags.c_contiguous
    ours = train(build([parameter]), [arrange(g) for g in grads])
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(mg.asarray(kept).numpy(), expected)


@pytest.mark.parametrize("build", OPTIMISERS)
def test_the_array_stays_the_same_and_the_gradient_untouched(build):
    parameter = put(nn.Parameter(np.ones((2, 3))))
    before, gradient = parameter.data, put(np.full((2, 3), 2.0))
    build([parameter]).update(put([gradient]))
    assert parameter.data is before
    np.testing.assert_array_equal(mg.asarray(gradient).numpy(), 2.0)


@pytest.mark.parametrize("build", OPTIMISERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay(build, dtype):
    parameter = put(nn.Parameter(np.ones(3, dtype)))
    optimiser = build([parameter])
    optimiser.update(put([np.ones(3, "float64")]))
    assert parameter.dtype == dtype
    arrays = [v for v in optimiser.state_dict().values() if isinstance(v, np.ndarray)]
    assert {array.dtype for array in arrays} <= {np.dtype(dtype)}


@pytest.mark.parametrize("build", OPTIMISERS)
def test_float16_is_updated_in_float32(build):
    """Squares of 300 and an eps of 1e-8 are beyond float16."""
    start, grads = np.full(3, 2.0), [[300, -300, 0]] * 3
    half = put(nn.Parameter(start, "float16"))
    optimiser = build([half])
    first = train(optimiser, [np.array(g, "float16") for g in grads[:1]])
    full = put(nn.Parameter(start, "float32"))
    expected = train(build([full]), [np.array(g, "float32") for g in grads[:1]])
    np.testing.assert_array_equal(first, expected.astype("float16"))
    again = build([half])
    again.load_state_dict(optimiser.state_dict())
    after = [train(o, [np.array(grads[0], "float16")]) for o in (optimiser, again)]
    assert half.dtype == np.float16
    assert np.isfinite(after).all()
    moments = [v for k, v in again.state_dict().items() if k.startswith("0.")]
    assert all(np.isfinite(moment).all() for moment in moments)


def test_a_frozen_parameter_that_came_back_larger_is_refused():
    parameter = put(nn.Parameter(np.ones(2)))
    optimiser = nn.Adam([parameter])
    optimiser.update(put([np.ones(2)]))
    freeze(parameter)
    parameter.data = put(np.ones(3))
    freeze(parameter, False)
    with pytest.raises(ValueError, match=r"Adam\.step: parameter 0 has 3") as error:
        optimiser.update(put([np.ones(3)]))
    says(error, "but had 2", "Make a new optimiser")


@pytest.mark.parametrize("build", OPTIMISERS)
def test_step_takes_the_gradients_of_backward(build):
    first, second = put(nn.Parameter(np.ones(3))), put(nn.Parameter(np.ones(3)))
    optimiser, other = build([first]), build([second])
    (first * first).sum().backward()
    optimiser.step()
    other.update([put(mg.Tensor(np.full(3, 2.0)))])
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    optimiser.zero_grad()
    assert first.grad is None


@pytest.mark.parametrize("build", OPTIMISERS)
def test_a_parameter_without_gradient_is_skipped(build):
    first, second = put(nn.Parameter(np.ones(3))), put(nn.Parameter(np.ones(3)))
    alone = put(nn.Parameter(np.ones(3)))
    optimiser = build([first, second])
    optimiser.update(put([np.ones(3), None]))
    np.testing.assert_array_equal(second.numpy(), 1)
    optimiser.update(put([None, np.ones(3)]))
    # Its first step is a first step, whatever the others have done.
    build([alone]).update(put([np.ones(3)]))
    np.testing.assert_array_equal(second.numpy(), alone.numpy())


def freeze(parameter, wanted=True):
    parameter.requires_grad = not wanted


@pytest.mark.parametrize("build", OPTIMISERS)
@given(frozen=st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_frozen_parameter_rests_and_goes_on_as_if_it_had_not_been_away(build, frozen):
    """Frozen for some steps, it ends where it would without those steps."""
    rng = np.random.default_rng(0)
    start, other = rng.standard_normal((2, 3))
    grads = rng.standard_normal((len(frozen), 3))
    expected = train(
        build([put(nn.Parameter(start))]),
        [g for g, rests in zip(grads, frozen, strict=True) if not rests],
    )
    parameter, always = put([nn.Parameter(start), nn.Parameter(other)])
    optimiser = build([parameter, always])
    for gradient, rests in zip(grads, frozen, strict=True):
        freeze(parameter, rests)
        optimiser.zero_grad()
        if not rests:
            parameter.grad = put(gradient)
        always.grad = put(gradient)
        optimiser.step()
    np.testing.assert_array_equal(parameter.numpy(), expected)
    np.testing.assert_array_equal(
        always.numpy(), train(build([put(nn.Parameter(other))]), grads)
    )


@pytest.mark.parametrize("build", OPTIMISERS)
def test_gradients_in_hand_leave_a_frozen_parameter_alone(build):
    frozen, other = put([nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))])
    optimiser = build([frozen, other])
    freeze(frozen)
    optimiser.update(put([np.ones(2), np.ones(2)]))
    np.testing.assert_array_equal(frozen.numpy(), 1)
    assert (other.numpy() < 1).all()
    assert "0.step" not in optimiser.state_dict()


@pytest.mark.parametrize("build", OPTIMISERS)
def test_a_frozen_parameters_state_is_saved_and_loaded(build):
    start, gradient = np.ones(2), put(np.ones(2))
    first = build(put([nn.Parameter(start), nn.Parameter(start)]))
    first.update([gradient, gradient])
    freeze(first.params[0])
    state = first.state_dict()
    assert state["0.step"] == 1
    parameters = put([nn.Parameter(p.numpy()) for p in first.params])
    freeze(parameters[0])
    second = build(parameters)
    second.load_state_dict(state)
    for optimiser in (first, second):
        freeze(optimiser.params[0], False)
        optimiser.update([gradient, gradient])
    np.testing.assert_array_equal(first.params[0].numpy(), second.params[0].numpy())


@pytest.mark.parametrize("build", OPTIMISERS)
def test_all_may_be_frozen_after_the_optimiser_was_made(build):
    parameter = put(nn.Parameter(np.ones(2)))
    optimiser = build([parameter])
    parameter.grad = put(np.ones(2))
    freeze(parameter)
    optimiser.step()
    optimiser.zero_grad()
    assert nn.clip_grad_norm([parameter], 1.0) == 0
    np.testing.assert_array_equal(parameter.numpy(), 1)


def test_adam_steps_do_not_depend_on_the_gradient_scale():
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(5), rng.standard_normal((4, 5))
    results = [
        train(nn.Adam([put(nn.Parameter(start))], eps=1e-30), scale * grads)
        for scale in (1e-6, 1.0, 1e6)
    ]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-10)
    np.testing.assert_allclose(results[2], results[1], rtol=1e-10)


@pytest.mark.parametrize("build", OPTIMISERS)
def test_a_quadratic_is_minimised(build):
    parameter = put(nn.Parameter(np.array([3.0, -2.0])))
    optimiser = build([parameter])
    for _ in range(300):
        optimiser.zero_grad()
        (parameter * parameter).sum().backward()
        optimiser.step()
    assert np.abs(parameter.numpy()).max() < 0.05


def test_a_step_between_forward_and_backward_is_caught():
    parameter = put(nn.Parameter(np.ones(3)))
    optimiser = nn.Adam([parameter])
    loss = (parameter * parameter).sum()
    optimiser.update(put([np.ones(3)]))
    with pytest.raises(RuntimeError) as error:
        loss.backward()
    says(error, "adam_update")


# State


@pytest.mark.parametrize("build", OPTIMISERS)
def test_training_goes_on_from_a_saved_state_to_the_bit(build):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((2, 3)).astype("float32")
    grads = rng.standard_normal((6, 2, 3)).astype("float32")
    expected = train(build([put(nn.Parameter(start))]), grads)
    first = build([put(nn.Parameter(start))])
    half = train(first, grads[:3])
    second = build([put(nn.Parameter(half))])
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(train(second, grads[3:]), expected)


def test_state_dict_holds_settings_and_copies_of_moments():
    optimiser = nn.Adam(
        [put(nn.Parameter(np.ones((2, 3)))), put(nn.Parameter(np.ones(1)))], 0.5
    )
    optimiser.update(put([np.ones((2, 3)), None]))
    state = optimiser.state_dict()
    assert state["optimizer"] == "Adam"
    assert (state["lr"], state["beta1"], state["beta2"]) == (0.5, 0.9, 0.999)
    assert (state["eps"], state["weight_decay"], state["0.step"]) == (1e-8, 0.0, 1)
    assert state["0.m"].shape == state["0.v"].shape == (2, 3)
    assert "1.m" not in state
    state["0.m"][:] = 100
    assert (optimiser.state_dict()["0.m"] == 1).all()


def test_loading_takes_settings_over():
    parameter = put(nn.Parameter(np.ones(2)))
    source = nn.SGD([parameter], lr=0.5, momentum=0.8, weight_decay=0.1)
    target = nn.SGD([parameter], lr=0.1)
    target.load_state_dict(source.state_dict())
    assert (target.lr, target.momentum, target.weight_decay) == (0.5, 0.8, 0.1)
    target.update(put([np.ones(2)]))
    assert "0.v" in target.state_dict()


def test_loading_names_every_problem_and_changes_nothing():
    parameters = [put(nn.Parameter(np.ones(2))), put(nn.Parameter(np.ones(3)))]
    optimiser = nn.Adam(parameters, lr=0.1)
    optimiser.update(put([np.ones(2), np.ones(3)]))
    before = optimiser.state_dict()
    state = optimiser.state_dict() | {"lr": 7.0, "2.m": np.ones(1)}
    state["0.m"], state["0.v"] = np.ones(3), np.zeros(2)
    del state["eps"], state["1.v"]
    with pytest.raises(ValueError, match=r"Adam\.load_state_dict") as error:
        optimiser.load_state_dict(state)
    says(error, "nothing was loaded", "missing: eps, 1.v", "unexpected: 2.m")
    says(error, "misshapen: 0.m (expected (2,), the state has (3,))")
    says(error, "on the same parameters in the same order")
    after = optimiser.state_dict()
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"lr": math.nan}, "out of range: lr is nan"),
        ({"lr": None}, "lr is None"),
        ({"lr": "0.1"}, "lr is '0.1'"),
        ({"beta1": 1.5}, "beta1 is 1.5"),
        ({"beta2": [0.9]}, "beta2 is [0.9]"),
        ({"eps": 0.0}, "eps is 0.0"),
        ({"weight_decay": -1}, "weight_decay is -1"),
        ({"0.step": 0}, "0.step is 0"),
        ({"0.step": 1.5}, "0.step is 1.5"),
        ({"0.step": None}, "0.step is None"),
        ({"0.m": "text"}, "not an array of real numbers: 0.m (a str)"),
        ({"0.m": [[1.0], [2.0, 3.0]]}, "real numbers: 0.m (a list)"),
        ({"0.v": np.array([1j, 1j])}, "real numbers: 0.v (a ndarray)"),
        ({"optimizer": ["Adam"]}, "saved by ['Adam']"),
        ({3: 1}, "unexpected: 3"),
    ],
)
def test_a_state_is_checked_to_the_last_value_before_any_is_loaded(change, part):
    optimiser = nn.Adam([put(nn.Parameter(np.ones(2)))], lr=0.1)
    optimiser.update(put([np.ones(2)]))
    before = optimiser.state_dict()
    for method in (optimiser.check_state_dict, optimiser.load_state_dict):
        with pytest.raises(ValueError, match="nothing was loaded") as error:
            method(before | {"lr": 7.0} | change)
        says(error, part)
    after = optimiser.state_dict()
    assert all(np.array_equal(after[key], before[key]) for key in before)
    optimiser.check_state_dict(before)


@pytest.mark.parametrize("state", [None, "Adam", [1]])
def test_a_state_is_a_dictionary(state):
    optimiser = nn.Adam([put(nn.Parameter(np.ones(2)))], lr=0.1)
    with pytest.raises(TypeError, match=r"Adam\.load_state_dict: the state is a"):
        optimiser.load_state_dict(state)


def test_loading_another_optimisers_state_is_refused():
    parameter = put(nn.Parameter(np.ones(2)))
    with pytest.raises(ValueError, match="load_state_dict") as error:
        nn.Adam([parameter]).load_state_dict(nn.SGD([parameter], 0.1).state_dict())
    says(error, "saved by 'SGD', this is 'Adam'")


# Wrong use


@pytest.mark.parametrize(
    ("params", "kind", "parts"),
    [
        ([], ValueError, ["list of parameters is empty", "model.parameters()"]),
        (
            put(nn.Parameter([1.0])),
            TypeError,
            ["params is a Parameter", "[tensor] for one"],
        ),
        (put(nn.Linear(1, 1)), TypeError, ["params is a Linear", "model.parameters()"]),
        ({"W": put(nn.Parameter([1.0]))}, TypeError, ["params is a dict"]),
        (
            [np.ones(2)],
            TypeError,
            ["parameter 0 is a numpy.ndarray, not a minigrad Tensor", "=True"],
        ),
        (
            [put(mg.Tensor([1.0]))],
            ValueError,
            ["none of the 1 parameters requires gradients", "Unfreeze some"],
        ),
        (
            [put(nn.Parameter([1.0]))] * 2,
            ValueError,
            ["stands twice", "Give each once"],
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(params, kind, parts):
    with pytest.raises(kind, match="SGD: ") as error:
        nn.SGD(params, lr=0.1)
    says(error, *parts)


@pytest.mark.parametrize(
    ("kind", "settings", "name"),
    [
        (nn.SGD, {"lr": 0.0}, "lr"),
        (nn.SGD, {"lr": -1.0}, "lr"),
        (nn.Adam, {"lr": math.nan}, "lr"),
        (nn.Adam, {"lr": math.inf}, "lr"),
        (nn.SGD, {"lr": 0.1, "momentum": 1.0}, "momentum"),
        (nn.SGD, {"lr": 0.1, "weight_decay": -0.1}, "weight_decay"),
        (nn.Adam, {"betas": (1.0, 0.9)}, "betas[0]"),
        (nn.Adam, {"betas": (0.9, -0.1)}, "betas[1]"),
        (nn.AdamW, {"eps": 0.0}, "eps"),
        (nn.AdamW, {"weight_decay": math.nan}, "weight_decay"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, name):
    with pytest.raises(ValueError, match="out of range") as error:
        put(kind([nn.Parameter([1.0])], **settings))
    says(error, f"{kind.__name__}: {name} is ", "Give a number with")


def test_the_learning_rate_may_be_assigned_and_end_at_zero():
    optimiser = nn.SGD([put(nn.Parameter([1.0]))], lr=0.1)
    optimiser.lr = 0
    assert optimiser.lr == 0
    for bad in (-0.1, math.nan):
        with pytest.raises(ValueError, match="lr is"):
            optimiser.lr = bad


def test_gradients_that_do_not_fit_are_named_before_anything_is_changed():
    parameters = [put(nn.Parameter(np.ones(2))), put(nn.Parameter(np.ones(3)))]
    optimiser = nn.Adam(parameters)
    with pytest.raises(ValueError, match=r"Adam\.update") as error:
        optimiser.update(put([np.ones(2)]))
    says(error, "1 gradients for 2 parameters", "or None")
    with pytest.raises(ValueError, match="gradient 1") as error:
        optimiser.update(put([np.ones(2), np.ones((3, 1))]))
    says(error, "(3, 1)", "(3,)", "in the order of the parameters")
    np.testing.assert_array_equal(parameters[0].numpy(), 1)


# Clipping


def with_gradients(*gradients):
    parameters = [put(nn.Parameter(np.zeros_like(g))) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = put(mg.Tensor(gradient))
    return parameters


@given(seed=seeds, scale=st.floats(1e-3, 1e3), max_norm=st.floats(1e-2, 1e2))
def test_clipping_bounds_the_joint_norm_and_keeps_the_direction(seed, scale, max_norm):
    rng = np.random.default_rng(seed)
    gradients = [scale * rng.standard_normal(shape) for shape in ((3, 4), (5,), ())]
    gradients = [np.asarray(g) for g in gradients]
    expected = math.sqrt(sum(float((g * g).sum()) for g in gradients))
    parameters = with_gradients(*gradients)
    np.testing.assert_allclose(float(nn.clip_grad_norm(parameters, max_norm)), expected)
    factor = min(1.0, max_norm / expected)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), factor * gradient)


def test_clipping_does_not_scale_a_shared_gradient_twice():
    first, second = with_gradients(np.ones(2), np.ones(2))
    second.grad = first.grad
    assert nn.clip_grad_norm([first, second], 1.0) == 2
    np.testing.assert_array_equal(first.grad.numpy(), 0.5)
    np.testing.assert_array_equal(second.grad.numpy(), 0.5)


def test_the_norm_is_summed_in_float64_and_gradients_stay_float32():
    n = 3 * updates.TILE + 1
    (parameter,) = with_gradients(np.full(n, 1e25, np.float32))
    norm = float(nn.clip_grad_norm([parameter], 1.0))
    np.testing.assert_allclose(norm, 1e25 * math.sqrt(n), rtol=1e-7)
    assert parameter.grad.dtype == np.float32
    np.testing.assert_allclose(parameter.grad.numpy(), 1 / math.sqrt(n), rtol=1e-6)


def test_clipping_copes_with_parameters_without_gradient():
    parameter = put(nn.Parameter(np.ones(2)))
    assert nn.clip_grad_norm([parameter], 1.0) == 0
    assert parameter.grad is None
    assert nn.clip_grad_norm([], 1.0) == 0


def test_a_norm_that_is_not_finite_is_told_and_changes_nothing():
    (parameter,) = with_gradients(np.array([1.0, math.inf]))
    assert nn.clip_grad_norm([parameter], 1.0) == math.inf
    np.testing.assert_array_equal(parameter.grad.numpy(), [1.0, math.inf])
    (parameter,) = with_gradients(np.array([1.0, math.nan]))
    assert math.isnan(float(nn.clip_grad_norm([parameter], 1.0)))


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan])
def test_clipping_to_nothing_is_refused(max_norm):
    with pytest.raises(ValueError, match="clip_grad_norm: max_norm") as error:
        nn.clip_grad_norm([put(nn.Parameter([1.0]))], max_norm)
    says(error, "out of range", "max_norm > 0")
