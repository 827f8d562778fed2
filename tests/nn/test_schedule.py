"""Do the schedules set the learning rates of their formulas, and go on after a save?"""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
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


SCHEDULES = {
    "ExponentialDecay": lambda o, **every: nn.ExponentialDecay(o, 0.9, **every),
    "CosineWithWarmup": lambda o, **every: nn.CosineWithWarmup(o, 2, 9, **every),
}
schedules = pytest.mark.parametrize("kind", SCHEDULES)


@schedules
@given(before=st.integers(0, 30), after=st.integers(1, 30), every=st.integers(1, 4))
def test_a_schedule_goes_on_from_a_saved_state(kind, before, after, every):
    first = SCHEDULES[kind](optimiser(), every=every)
    rates(first, before)
    # Another rate to begin with: the state holds all that the rates follow from.
    second = SCHEDULES[kind](optimiser(lr=7.0), every=every)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert rates(second, after) == rates(first, after)


@schedules
@given(steps=st.integers(1, 12), every=st.integers(1, 5))
def test_every_so_many_calls_are_one_step(kind, steps, every):
    by_epoch = rates(SCHEDULES[kind](optimiser()), steps)
    by_update = rates(SCHEDULES[kind](optimiser(), every=every), steps * every)
    assert by_update == [rate for rate in by_epoch for _ in range(every)]


@schedules
def test_a_schedule_is_saved_in_a_checkpoint_and_loaded_from_it(kind, tmp_path):
    first = SCHEDULES[kind](optimiser())
    rates(first, 3)
    extra = {"schedule": first.state_dict()}
    mg.save_checkpoint(tmp_path / "c.h5", optimizer=first.optimizer, extra=extra)
    second = SCHEDULES[kind](optimiser(lr=7.0))
    saved = mg.load_checkpoint(tmp_path / "c.h5", optimizer=second.optimizer)
    second.load_state_dict(saved.extra["schedule"])
    assert rates(second, 5) == rates(first, 5)


def test_a_state_that_does_not_name_its_schedule_is_taken():
    schedule = nn.CosineWithWarmup(optimiser(), 2, 9)
    schedule.load_state_dict({"steps": 2, "peak": 0.25})
    assert schedule.optimizer.lr == 0.25


@schedules
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"schedule": "Other"}, ["it was saved by 'Other', this is "]),
        ({"steps": None}, ["out of range: steps is None"]),
        ({"steps": 1.5}, ["steps is 1.5"]),
        ({"steps": True}, ["steps is True"]),
        ({"steps": -1}, ["steps is -1"]),
        ({"lr": "x", "peak": "x"}, [" is 'x'"]),
        ({"lr": math.nan, "peak": math.nan}, [" is nan"]),
        ({"lr": -1.0, "peak": -1.0}, [" is -1.0"]),
        ({"epoch": 3}, ["unexpected: ", "epoch"]),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(kind, change, parts):
    schedule = SCHEDULES[kind](optimiser())
    rates(schedule, 3)
    before = schedule.state_dict(), schedule.optimizer.lr
    for method in (schedule.check_state_dict, schedule.load_state_dict):
        with pytest.raises(ValueError, match=f"{kind}.load_state_dict") as error:
            method(schedule.state_dict() | change)
        says(error, "nothing was loaded", "Build the schedule", *parts)
        assert (schedule.state_dict(), schedule.optimizer.lr) == before


@schedules
def test_a_state_that_lacks_something_or_is_none_is_refused(kind):
    schedule = SCHEDULES[kind](optimiser())
    with pytest.raises(ValueError, match="missing: steps"):
        schedule.load_state_dict({})
    with pytest.raises(TypeError, match="the state is a str"):
        schedule.load_state_dict("x")
    schedule.check_state_dict(schedule.state_dict())


@schedules
def test_a_schedule_says_what_it_needs(kind):
    with pytest.raises(TypeError, match=f"{kind}: optimizer is a Linear") as error:
        SCHEDULES[kind](nn.Linear(1, 1))
    says(error, "no learning rate", "nn.Adam(...)")
    with pytest.raises(ValueError, match=f"{kind}: every is 0"):
        SCHEDULES[kind](optimiser(), every=0)
    for wrong in (1.5, True, None, "2"):
        with pytest.raises(TypeError, match=f"{kind}: every is {wrong!r}"):
            SCHEDULES[kind](optimiser(), every=wrong)


@pytest.mark.parametrize("decay", [None, "0.9", True, np.ones(1), mg.Tensor(0.9)])
def test_exponential_decay_needs_a_number(decay):
    with pytest.raises(TypeError, match="ExponentialDecay: decay is") as error:
        nn.ExponentialDecay(optimiser(), decay)
    says(error, "must be a number", "0 < decay <= 1")


@pytest.mark.parametrize(("warmup", "total"), [(1.0, 5), (0, 5.0), (None, 5), (0, "5")])
def test_cosine_needs_integers(warmup, total):
    with pytest.raises(TypeError, match="CosineWithWarmup") as error:
        nn.CosineWithWarmup(optimiser(), warmup, total)
    says(error, "Give integers")


@pytest.mark.parametrize(("warmup", "total"), [(5, 5), (-1, 5), (0, 0), (6, 5)])
def test_cosine_refuses_a_warmup_that_leaves_no_step(warmup, total):
    with pytest.raises(ValueError, match="CosineWithWarmup") as error:
        nn.CosineWithWarmup(optimiser(), warmup, total)
    says(error, f"{warmup} of total_steps {total}", "0 <= warmup_steps < total_steps")
