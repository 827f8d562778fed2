"""Does the network see its classes in what was drawn of them, by the settings?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from apps.image_gradients import visualize as drawing
from apps.image_gradients.gallery import save_all
from apps.image_gradients.gradients import (
    probabilities,
    score_of,
    scores_of,
    unit,
    with_gradient,
)
from apps.image_gradients.pictures import (
    denormalize,
    find,
    normalize,
    valid_range,
)
from apps.image_gradients.settings import RECIPES, Settings
from apps.image_gradients.squeezenet import SqueezeNet
from apps.image_gradients.visualize import (
    CLASSES,
    Drawn,
    blurred,
    visualize,
)
from tests.apps.look_data import guessing, guessing_here, learned

SIDE = 40
SHORT = Settings(iterations=5, rate=2.0, every=2, ending=2)


# -- the network that has learned --------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return visualize(learned(), CLASSES)


@pytest.mark.slow
def test_the_network_is_sure_of_all_six(drawn: Drawn, tmp_path: Path) -> None:
    """As it sees them when they are read from files."""
    names = [f"{number}" for number in CLASSES]
    files = list(find(save_all(tmp_path, names, drawn.pixels)))
    pixels = np.stack([file.pixels for file in files])
    np.testing.assert_array_equal(pixels, drawn.pixels)
    scores = learned()(normalize(pixels)).numpy().astype("float64")
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    own = shares[np.arange(6), CLASSES]
    assert (own >= 0.9).all()
    np.testing.assert_allclose(drawn.certainty, own, atol=1e-4)


@pytest.mark.slow
def test_a_class_is_drawn_over_the_noise(drawn: Drawn) -> None:
    assert sorted(drawn.stages) == [1, 25, 50, 75, 100]
    assert drawn.pixels.shape == (6, 224, 224, 3)
    np.testing.assert_array_equal(drawn.stages[100], drawn.pixels)
    first = probabilities(scores_of(learned(), normalize(drawn.stages[1])))
    assert (first[np.arange(6), CLASSES] < 0.5).all()


def test_the_vivid_recipe_draws_too() -> None:
    settings = replace(RECIPES["vivid"], iterations=12)
    found = visualize(learned(), [CLASSES[0]], settings, shown=())
    assert found.certainty[0] > 0.5
    assert found.stages == {}


def test_the_ending_leads_away_from_other_classes() -> None:
    """Tarantula and tick, which are alike."""
    settings = replace(SHORT, iterations=20, ending=0)
    plain, led = (
        visualize(learned(), [76, 78], one, side=64)
        for one in (settings, replace(settings, ending=10))
    )
    assert (led.certainty > plain.certainty).all()


# -- any network -------------------------------------------------------------------


def draw(
    network: SqueezeNet, classes: list[int], settings: Settings = SHORT, seed: int = 0
) -> Drawn:
    return visualize(network, classes, settings, seed=seed, shown=(1, 3, 5), side=SIDE)


def test_the_plain_recipe_is_that_of_the_course() -> None:
    """Written out once more: climb the score, less the pixels' squares, from noise."""
    network, number = guessing(), 7
    settings = replace(SHORT, iterations=4, ending=0)
    moves = np.random.default_rng(3)
    random = np.random.default_rng([3, number])
    x = random.standard_normal((1, 3, SIDE, SIDE), "float32")
    low, high = valid_range()
    for step in range(4):
        down, right = moves.integers(0, 17, 2)
        x = np.roll(np.roll(x, down, 2), right, 3)
        g = with_gradient(network, x, score_of([number]))[1] - 2 * 1e-3 * x
        x = x + 2.0 * g / np.linalg.norm(g)
        x = np.roll(np.roll(x, -down, 2), -right, 3)
        x = np.minimum(np.maximum(x, low), high)
        if step in (0, 2):
            for axis in (2, 3):
                x = gaussian_filter1d(x, 0.5, axis, mode="reflect", truncate=4)
    found = visualize(network, [number], settings, seed=3, side=SIDE)
    change = np.abs(found.pixels.astype(int) - denormalize(x))
    assert change.max() <= 1
    assert (change > 0).mean() < 0.01


def test_a_class_does_not_depend_on_the_others(device: str) -> None:
    network = guessing_here()
    together = draw(network, [5, 900, 17])
    assert together.classes == (5, 900, 17)
    for i, number in enumerate(together.classes):
        alone = draw(network, [number])
        change = np.abs(alone.pixels[0].astype(int) - together.pixels[i])
        assert change.max() <= 1
        assert (change > 0).mean() < 0.01
        assert alone.certainty[0] == pytest.approx(together.certainty[i], rel=1e-3)


def test_a_seed_decides_everything(device: str) -> None:
    network = guessing_here()
    one, again, other = (draw(network, [5], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.pixels, again.pixels)
    assert (one.pixels != other.pixels).mean() > 0.5


def test_stages_are_those_asked_for() -> None:
    """Each is what would have come out if it had ended there, without an ending."""
    settings = replace(SHORT, ending=0)
    told: list[int] = []
    found = visualize(
        guessing(), [5], settings, shown=(1, 3, 9), side=SIDE, progress=told.append
    )
    assert sorted(found.stages) == [1, 3]
    assert told == [1, 2, 3, 4, 5]
    for step, pixels in found.stages.items():
        shorter = draw(guessing(), [5], replace(settings, iterations=step))
        np.testing.assert_array_equal(shorter.pixels, pixels)


@pytest.mark.parametrize(
    "changed",
    [
        {"l2": 1.0},
        {"rate": 4.0},
        {"jitter": 0},
        {"blur": 1.0},
        {"every": 1},
        {"ending": 0},
        {"start": 2.0},
        {"smooth": 1.0},
        {"shrink": 0.1},
    ],
)
def test_every_setting_has_an_effect(changed: dict[str, float]) -> None:
    plain = draw(guessing(), [5])
    found = draw(guessing(), [5], replace(SHORT, **changed))  # type: ignore[arg-type]
    assert (found.pixels != plain.pixels).any()


def test_steps_shrink_evenly() -> None:
    settings = Settings(iterations=11, shrink=0.2)
    shares = [drawing._share(settings, step) for step in range(11)]
    np.testing.assert_allclose(shares, np.linspace(1, 0.2, 11))
    assert drawing._share(Settings(iterations=1), 0) == 1


@given(
    st.floats(0, 6),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(["float32", "float64"]),
)
def test_the_filter_is_scipys(
    deviation: float, height: int, width: int, dtype: str
) -> None:
    """Also where it is wider than the picture, which it meets mirrored again."""
    x = np.random.default_rng(0).standard_normal((2, 3, height, width)).astype(dtype)
    kept = x.copy()
    expected = x.astype("float64")
    if int(4 * deviation + 0.5):
        for axis in (2, 3):
            expected = gaussian_filter1d(
                expected, deviation, axis, mode="reflect", truncate=4
            )
    found = blurred(x, deviation)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(x, kept)


def test_a_blurred_gradient_weighs_as_much_as_its_own() -> None:
    network = guessing()
    x = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE)).astype("float32")
    settings = replace(SHORT, l2=0.0, smooth=1.5, ending=0)
    g = with_gradient(network, x, score_of([5]))[1]
    expected = 2.0 * unit(unit(g) + unit(blurred(g, 1.5)))
    found = drawing._step(network, x, [5], settings, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
