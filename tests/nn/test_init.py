"""Do the initialisers have the distributions of their papers?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from nn import init
from tests.nn.reference import says

SHAPE = (200, 400)
NAMED = [
    init.zeros,
    init.uniform,
    init.normal,
    init.lecun_normal,
    init.xavier_uniform,
    init.xavier_normal,
    init.kaiming_uniform,
    init.kaiming_normal,
    init.orthogonal,
]
SCALED = NAMED[3:]


@pytest.mark.parametrize("initialise", NAMED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_dtype_and_generator_decide(initialise, dtype):
    first = initialise((3, 5), mg.Generator(1), dtype)
    assert type(first) is np.ndarray
    assert first.shape == (3, 5)
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, initialise((3, 5), mg.Generator(1), dtype))
    if initialise is not init.zeros:
        assert (first != initialise((3, 5), mg.Generator(2), dtype)).any()


def test_the_default_generator_is_the_seedable_one():
    mg.manual_seed(5)
    first = init.normal((4,))
    mg.manual_seed(5)
    np.testing.assert_array_equal(first, init.normal((4,)))


@pytest.mark.parametrize(
    ("initialise", "variance"),
    [
        (init.uniform, 0.2**2 / 12),
        (init.normal, 1),
        (init.lecun_normal, 1 / 200),
        (init.xavier_uniform, 2 / 600),
        (init.xavier_normal, 2 / 600),
        (init.kaiming_uniform, 2 / 200),
        (init.kaiming_normal, 2 / 200),
        (init.orthogonal, 1 / 400),
    ],
)
def test_mean_and_variance(initialise, variance):
    weights = initialise(SHAPE, mg.Generator(0), "float64")
    # 80,000 draws: four standard errors of the mean, and of a normal's variance.
    assert abs(weights.mean()) < 4 * np.sqrt(variance / weights.size)
    assert abs(weights.var() / variance - 1) < 4 * np.sqrt(2 / weights.size)


@pytest.mark.parametrize(
    ("initialise", "bound"),
    [
        (init.uniform, 0.1),
        (init.xavier_uniform, np.sqrt(6 / 600)),
        (init.kaiming_uniform, np.sqrt(6 / 200)),
    ],
)
def test_uniform_ones_fill_their_interval(initialise, bound):
    weights = initialise(SHAPE, mg.Generator(0), "float64")
    assert 0.999 * bound < weights.max() <= bound
    assert -bound <= weights.min() < -0.999 * bound


@pytest.mark.parametrize("initialise", [init.normal, *SCALED])
def test_normal_ones_have_tails_and_uniform_ones_have_none(initialise):
    weights = initialise(SHAPE, mg.Generator(0), "float64")
    kurtosis = np.mean(weights**4) / np.mean(weights**2) ** 2
    expected = 1.8 if "uniform" in initialise.__name__ else 3
    assert abs(kurtosis - expected) < 0.1


@pytest.mark.parametrize("initialise", [init.xavier_normal, init.kaiming_uniform])
def test_gain_scales(initialise):
    once = initialise((3, 4), mg.Generator(0), "float64", gain=1.0)
    twice = initialise((3, 4), mg.Generator(0), "float64", gain=2.0)
    np.testing.assert_allclose(twice, 2 * once)


def test_normal_and_uniform_take_their_scale():
    weights = init.normal(SHAPE, mg.Generator(0), "float64", mean=5, std=0.01)
    assert abs(weights.mean() - 5) < 1e-3
    assert abs(weights.std() - 0.01) < 1e-3
    weights = init.uniform(SHAPE, mg.Generator(0), "float64", low=2, high=3)
    assert 2 <= weights.min() < weights.max() <= 3


@given(
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    seed=st.integers(0, 999),
    gain=st.floats(0.1, 3),
)
def test_orthogonal_has_orthonormal_rows_or_columns(rows, columns, seed, gain):
    shape, generator = (rows, columns), mg.Generator(seed)
    weights = init.orthogonal(shape, generator, "float64", gain=gain)
    product = weights.T @ weights if rows >= columns else weights @ weights.T
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_prefers_no_sign():
    diagonals = [
        np.diagonal(init.orthogonal((3, 3), mg.Generator(seed), "float64"))
        for seed in range(200)
    ]
    assert abs(np.mean(np.sign(diagonals))) < 4 / np.sqrt(600)


@pytest.mark.parametrize("initialise", SCALED)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3)])
def test_shapes_without_inputs_and_outputs_are_refused(initialise, shape):
    with pytest.raises(ValueError, match="initialiser") as error:
        initialise(shape)
    says(error, f"shape {shape} is not (in, out)", "nn.init.uniform")
