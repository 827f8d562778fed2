"""Is the network really fooled, by what can be saved, and by changes so small?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from apps.image_gradients import fool as fooling
from apps.image_gradients.fool import Fooled, fool, other_classes, smallest_change
from apps.image_gradients.gallery import save_all
from apps.image_gradients.gradients import scores_of
from apps.image_gradients.pictures import find, normalize, valid_range
from apps.image_gradients.squeezenet import SqueezeNet
from tests.apps.look_data import guessing_here, imagenet, learned, noise

STINGRAY = 6


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return imagenet()[0]


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    chosen = other_classes(imagenet()[1], 1000, seed=0)
    chosen[0] = STINGRAY
    return chosen


@pytest.fixture(scope="module")
def fooled(pixels: np.ndarray, targets: np.ndarray) -> Fooled:
    return fool(learned(), pixels, targets)


@pytest.fixture(scope="module")
def small(pixels: np.ndarray, targets: np.ndarray) -> Fooled:
    return smallest_change(learned(), pixels, targets)


def answers(network: SqueezeNet, pixels: np.ndarray) -> np.ndarray:
    return scores_of(network, normalize(pixels)).argmax(axis=1)


def read_back(found: Fooled, folder: Path) -> np.ndarray:
    """The pictures, after they were files."""
    names = [f"{number}" for number in range(len(found.after))]
    pictures = list(find(save_all(folder, names, found.after)))
    return np.stack([picture.pixels for picture in pictures])


# -- the network that has learned, and ImageNet's pictures -------------------------


@pytest.mark.slow
def test_all_are_fooled_by_small_steps(fooled: Fooled, pixels: np.ndarray) -> None:
    assert (fooled.steps >= 1).all()
    assert (fooled.steps <= 100).all()
    assert np.median(fooled.levels) <= 16
    np.testing.assert_array_equal(fooled.before, pixels)


@pytest.mark.slow
def test_files_fool_the_network_too(fooled: Fooled, tmp_path: Path) -> None:
    pixels = read_back(fooled, tmp_path)
    np.testing.assert_array_equal(pixels, fooled.after)
    right = answers(learned(), pixels) == fooled.targets
    assert right.sum() >= 24


@pytest.mark.slow
def test_the_score_alone_is_a_worse_guide(
    fooled: Fooled, pixels: np.ndarray, targets: np.ndarray
) -> None:
    few = slice(0, 4)
    found = fool(learned(), pixels[few], targets[few], aim="score", most=30)
    done = found.steps >= 0
    assert done.any()
    now = answers(learned(), found.after)
    np.testing.assert_array_equal(now[done], targets[few][done])
    later = np.where(done, found.steps, 31)
    assert later.sum() > fooled.steps[few].sum()


@pytest.mark.slow
def test_three_levels_are_enough(
    small: Fooled, pixels: np.ndarray, targets: np.ndarray, tmp_path: Path
) -> None:
    assert (small.steps >= 0).all()
    assert (small.levels >= 1).all()
    assert (small.levels <= 3).all()
    assert np.abs(small.after.astype(int) - pixels).max() <= 3
    saved = read_back(small, tmp_path)
    np.testing.assert_array_equal(answers(learned(), saved), targets)


@pytest.mark.slow
def test_the_bound_is_the_first_under_which_it_worked(small: Fooled) -> None:
    bounds = small.steps // fooling.TRIES + 1
    assert (small.levels <= bounds).all()
    assert bounds.max() <= 3


# -- any network -------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(device: str) -> SqueezeNet:
    return guessing_here()


def close_targets(network: SqueezeNet, pixels: np.ndarray) -> np.ndarray:
    """What the network thinks likeliest but for one."""
    return scores_of(network, normalize(pixels)).argsort(axis=1)[:, -2]


def test_a_network_that_guesses_is_fooled(network: SqueezeNet) -> None:
    pixels = noise(3)
    kept = pixels.copy()
    targets = close_targets(network, pixels)
    told: list[tuple[int, int]] = []
    found = fool(network, pixels, targets, rate=0.5, progress=lambda *s: told.append(s))
    assert (found.steps >= 1).all()
    np.testing.assert_array_equal(answers(network, found.after), targets)
    np.testing.assert_array_equal(pixels, kept)
    left = [(found.steps > step).sum() for step in range(found.steps.max() + 1)]
    assert told == list(enumerate(left))
    change = np.abs(found.after.astype(int) - pixels).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(found.levels, change)


def test_who_sees_the_target_already_is_left_alone(network: SqueezeNet) -> None:
    pixels = noise(2)
    seen = answers(network, pixels)
    for search in (fool, smallest_change):
        found = search(network, pixels, seen)
        np.testing.assert_array_equal(found.after, pixels)
        np.testing.assert_array_equal(found.steps, 0)
        np.testing.assert_array_equal(found.levels, 0)


def test_who_may_not_move_is_not_fooled(network: SqueezeNet) -> None:
    pixels = noise(2)
    targets = close_targets(network, pixels)
    for found in (
        fool(network, pixels, targets, most=0),
        smallest_change(network, pixels, targets, most=0),
    ):
        np.testing.assert_array_equal(found.steps, -1)
        np.testing.assert_array_equal(found.after, pixels)


def test_bounds_hold_for_each_picture(network: SqueezeNet) -> None:
    """Even where they are too narrow to fool anybody."""
    pixels = noise(3, seed=1)
    farthest = scores_of(network, normalize(pixels)).argmin(axis=1)
    for bound in (1, 2):
        found = smallest_change(network, pixels, farthest, tries=8, most=bound)
        np.testing.assert_array_equal(found.steps, -1)
        np.testing.assert_array_equal(found.levels, bound)


def test_the_direction_and_its_length_are_heeded(network: SqueezeNet) -> None:
    """One step along signs moves every pixel alike."""
    pixels = np.full((1, 40, 40, 3), 128, "uint8")
    targets = scores_of(network, normalize(pixels)).argmin(axis=1)
    level = float(fooling.LEVEL.max())
    found = fool(network, pixels, targets, rate=4 * level, most=1, direction=np.sign)
    change = np.abs(found.after.astype(int) - pixels)
    assert {*np.unique(change)} <= {0, 4}
    assert found.levels[0] == 4


class Watched:
    """A network that remembers how far beyond black and white its pictures were."""

    def __init__(self, network: SqueezeNet) -> None:
        self.network = network
        self.beyond = 0.0

    def parameters(self) -> Iterator[mg.Tensor]:
        return self.network.parameters()

    def __call__(self, x: mg.Tensor) -> mg.Tensor:
        low, high = valid_range()
        values = x.detach().numpy()
        excess = np.maximum(low - values, values - high).max()
        self.beyond = max(self.beyond, float(excess))
        return self.network(x)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("search", ["fool", "smallest"])
def test_nothing_is_beyond_black_and_white(
    network: SqueezeNet, search: str, value: int
) -> None:
    watched: Any = Watched(network)
    pixels = np.full((2, 40, 40, 3), value, "uint8")
    targets = scores_of(network, normalize(pixels)).argsort(axis=1)[:, -3]
    if search == "fool":
        found = fool(watched, pixels, targets, rate=3.0, most=6)
    else:
        found = smallest_change(watched, pixels, targets, tries=4, most=3)
    assert found.levels.max() > 0
    assert watched.beyond <= 1e-6


def test_what_is_near_is_still_a_picture() -> None:
    black, white = valid_range()
    start = np.stack([black, white]) + np.zeros((2, 3, 2, 2), "float32")
    near = fooling._within(start + np.float32(9), start, 2)
    np.testing.assert_allclose(near[0], start[0] + 2 * fooling.LEVEL, rtol=1e-5)
    np.testing.assert_array_equal(near[1], start[1])


@pytest.mark.parametrize(
    "search",
    [fool, partial(smallest_change, tries=12, most=2)],
    ids=["fool", "smallest"],
)
def test_pictures_are_fooled_each_for_itself(
    network: SqueezeNet, search: Callable[..., Fooled]
) -> None:
    """Also after others of them have been."""
    pixels = noise(4, seed=3)
    targets = scores_of(network, normalize(pixels)).argsort(axis=1)[:, -6]
    together = search(network, pixels, targets)
    assert len({*together.steps}) > 1
    for i in range(4):
        alone = search(network, pixels[i : i + 1], targets[i : i + 1])
        assert alone.steps[0] == together.steps[i]
        assert (alone.after[0] != together.after[i]).mean() < 0.01


def test_the_same_again_gives_the_same(network: SqueezeNet) -> None:
    pixels = noise(2, seed=2)
    targets = close_targets(network, pixels)
    for search in (fool, smallest_change):
        one, other = (search(network, pixels, targets) for _ in "ab")
        np.testing.assert_array_equal(one.after, other.after)
        np.testing.assert_array_equal(one.steps, other.steps)


def test_other_classes_are_never_the_own() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 2000)
    chosen = other_classes(labels, 4, seed=1)
    assert (chosen != labels).all()
    for own in range(4):
        assert {*chosen[labels == own]} == {*range(4)} - {own}
    np.testing.assert_array_equal(chosen, other_classes(labels, 4, seed=1))
    assert (chosen != other_classes(labels, 4, seed=2)).any()
