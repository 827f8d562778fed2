"""Do the schedules set the learning rates of their formulas, and go on after a save?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
from tests.nn.reference import says


def optimiser(lr=0.5):
    return nn.SGD([nn.Parameter([1.0])], lr=lr)


def rates(schedule, steps):
    seen = []
    for _ in range(steps):
        seen.append(schedule.optimizer.lr)
        schedule.step()
    return seen


def test_exponential_decay_multiplies_once_a_step():
    seen = rates(nn.ExponentialDecay(optimiser(), 0.9), 4)
    assert seen == pytest.approx([0.5, 0.45, 0.405, 0.3645])


@pytest.mark.parametrize("decay", [0, -0.5, 1.1, math.nan])
def test_exponential_decay_refuses_what_does_not_decay(decay):
    with pytest.raises(ValueError, match="ExponentialDecay: decay is") as error:
        nn.ExponentialDecay(optimiser(), decay)
    says(error, str(decay), "vanish at once or grow", "0 < decay <= 1")


def test_cosine_with_warmup_has_its_formula():
    seen = rates(nn.CosineWithWarmup(optimiser(), 3, 7), 9)
    warmup = [0.125, 0.25, 0.375]
    cosine = [0.25 * (1 + math.cos(math.pi * p)) for p in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert seen == pytest.approx(warmup + cosine)


@given(total=st.integers(1, 30), share=st.floats(0, 0.99))
def test_cosine_with_warmup_rises_to_the_peak_once_and_falls_to_zero(total, share):
    warmup = int(share * total)
    seen = rates(nn.CosineWithWarmup(optimiser(), warmup, total), total + 2)
    assert seen.index(max(seen)) == warmup
    assert seen[warmup] == pytest.approx(0.5)
    assert seen[: warmup + 1] == sorted(seen[: warmup + 1])
    assert seen[warmup:] == sorted(seen[warmup:], reverse=True)
    assert min(seen[:total]) > 0
    assert seen[total:] == pytest.approx([0, 0], abs=1e-15)


def test_cosine_goes_on_from_a_saved_state():
    first = nn.CosineWithWarmup(optimiser(), 2, 9)
    rates(first, 4)
    second = nn.CosineWithWarmup(optimiser(lr=first.optimizer.lr), 2, 9)
    second.load_state_dict(first.state_dict())
    assert rates(second, 5) == rates(first, 5)


@pytest.mark.parametrize(("warmup", "total"), [(5, 5), (-1, 5), (0, 0), (6, 5)])
def test_cosine_refuses_a_warmup_that_leaves_no_step(warmup, total):
    with pytest.raises(ValueError, match="CosineWithWarmup") as error:
        nn.CosineWithWarmup(optimiser(), warmup, total)
    says(error, f"{warmup} of total_steps {total}", "0 <= warmup_steps < total_steps")
