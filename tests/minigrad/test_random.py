"""Are random numbers reproducible, and of the distribution and dtype asked for?"""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import minigrad as mg

DRAWS = {
    "normal": lambda g: g.normal((3, 2)),
    "uniform": lambda g: g.uniform((3, 2), low=-1, high=2),
    "integers": lambda g: g.integers(0, 1000, (3, 2)),
    "permutation": lambda g: g.permutation(50),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_numbers(name):
    draw = DRAWS[name]
    np.testing.assert_array_equal(draw(mg.Generator(7)), draw(mg.Generator(7)))
    assert (draw(mg.Generator(7)) != draw(mg.Generator(8))).any()


@pytest.mark.parametrize("name", DRAWS)
def test_a_state_goes_through_json_and_continues(name):
    generator, other = mg.Generator(7), mg.Generator(8)
    generator.normal(3)  # an odd number leaves half a word behind
    generator.integers(0, 10)
    other.set_state(json.loads(json.dumps(generator.get_state())))
    for _ in range(3):
        ours, theirs = DRAWS[name](generator), DRAWS[name](other)
        np.testing.assert_array_equal(ours, theirs)


def test_a_state_is_a_copy():
    generator = mg.Generator(7)
    state = generator.get_state()
    first = generator.normal(5)
    generator.set_state(state)
    np.testing.assert_array_equal(generator.normal(5), first)


def test_manual_seed_restarts_the_default_generator():
    assert mg.manual_seed(3) is mg.default_generator
    first = mg.default_generator.normal(4)
    mg.manual_seed(3)
    np.testing.assert_array_equal(mg.default_generator.normal(4), first)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype):
    generator = mg.Generator(0)
    assert generator.normal((2,), dtype).dtype == dtype
    assert generator.uniform((2,), dtype, -1, 1).dtype == dtype
    assert type(generator.normal()) is np.ndarray


def test_distributions():
    generator = mg.Generator(0)
    normal, uniform = generator.normal(20_000), generator.uniform(20_000, low=2, high=4)
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert 2 <= uniform.min() < 2.01
    assert 3.99 < uniform.max() < 4
    assert set(generator.integers(3, 6, 100)) == {3, 4, 5}
    assert sorted(generator.permutation(9)) == list(range(9))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_numbers_stay_below_the_upper_end(dtype):
    drawn = mg.Generator(0).uniform(50_000, dtype)
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_without_a_seed_generators_differ():
    assert (mg.Generator().normal(8) != mg.Generator().normal(8)).any()


GOOD = mg.Generator(0).get_state()


@pytest.mark.parametrize(
    "state",
    [
        {},
        3,
        None,
        {"bit_generator": "MT19937"},
        GOOD | {"generator": "pcg64"},
        GOOD | {"key": [1]},
        GOOD | {"key": [1, -1]},
        GOOD | {"key": 3},
        GOOD | {"draws": -1},
        GOOD | {"draws": 0.5},
        GOOD | {"draws": 2**64},
        GOOD | {"draws": "1"},
    ],
)
def test_what_is_no_state_is_refused(state):
    generator = mg.Generator(0)
    with pytest.raises(ValueError, match="not a generator's state"):
        generator.set_state(state)
    assert generator.get_state() == GOOD


def test_the_state_of_an_earlier_version_is_refused_with_a_word():
    state = np.random.PCG64(0).state
    with pytest.raises(ValueError, match=r"earlier version drew.*start from a seed"):
        mg.Generator(0).set_state(state)


def test_a_draw_depends_on_its_number_alone():
    one, other = mg.Generator(7), mg.Generator(7)
    one.normal(3)
    other.permutation(1000)
    np.testing.assert_array_equal(one.uniform(9), other.uniform(9))


def test_numbers_are_those_of_philox():
    """So that a kernel elsewhere can draw the same ones."""
    generator = mg.Generator(7)
    key = generator.get_state()["key"]
    generator.normal()
    block = np.random.Philox(key=np.array(key, np.uint64), counter=[0, 0, 1, 0])
    words = block.random_raw(3).view("<u4")
    expected = (words >> 8) * np.float32(2**-24)
    np.testing.assert_array_equal(generator.uniform(6), expected)


def test_dropout_compares_philox_words_with_p():
    generator = mg.Generator(7)
    key = np.array(generator.get_state()["key"], np.uint64)
    block = np.random.Philox(key=key)
    words = block.random_raw(5).view("<u4")[:9]
    kept = mg.dropout(np.ones((3, 3), np.float32), 0.25, generator) > 0
    np.testing.assert_array_equal(kept.reshape(-1), words < 0.75 * 2**32)


def test_draws_of_two_threads_are_different_draws():
    generator = mg.Generator(0)
    drawn: list = []

    def draw():
        drawn.extend(generator.uniform(4, "float64").tobytes() for _ in range(50))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 200


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), "half", None])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=r"a probability lies in \[0, 1\]"):
        mg.bernoulli((3,), p)


@pytest.mark.parametrize("p", [0, 0.25, 1])
def test_booleans_are_true_with_their_probability(p):
    drawn = mg.bernoulli((100, 101), p, mg.Generator(0))
    assert drawn.dtype == bool
    assert abs(drawn.numpy().mean() - p) < 0.02


@pytest.mark.parametrize("shape", [(2, -1), (2.5,), "ab", None])
def test_what_is_no_shape_is_refused_before_a_draw(shape):
    generator = mg.Generator(0)
    with pytest.raises(ValueError, match="sizes are whole numbers"):
        mg.bernoulli(shape, 0.5, generator)
    assert generator.get_state() == mg.Generator(0).get_state()


@pytest.mark.parametrize("shape", [(), 3, (0,), [2, 3]])
def test_shapes_of_booleans(shape):
    assert mg.bernoulli(shape, 0.5).shape == np.zeros(shape).shape
