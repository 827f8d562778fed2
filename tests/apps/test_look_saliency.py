"""Are gradients slopes, do maps follow their formulas, and does the check tell?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr

import minigrad as mg
import nn
from apps.image_gradients import saliency
from apps.image_gradients.gradients import (
    device_of,
    lead_over_others,
    probabilities,
    score_of,
    scores_of,
    unit,
    with_gradient,
)
from apps.image_gradients.pictures import normalize, valid_range
from apps.image_gradients.squeezenet import SqueezeNet
from tests.apps.look_data import guessing, guessing_here, learned, noise

AIMS = {"score": score_of, "lead": lead_over_others}

Looked = tuple[SqueezeNet, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def looked(device: str) -> Looked:
    """A network on the device, two pictures, and what it sees in them."""
    network, x = guessing_here(), normalize(noise(2))
    assert device_of(network) == device
    return network, x, scores_of(network, x).argmax(axis=1)


def photos(count: int = 1) -> Looked:
    """The network that has learned, pictures of scikit-image, their classes."""
    from apps.image_gradients.pictures import samples

    pictures = [picture for picture in samples() if picture.label is not None]
    x = normalize(np.stack([picture.pixels for picture in pictures[:count]]))
    return learned(), x, np.array([picture.label for picture in pictures[:count]])


class Linear:
    """Scores that are weighted sums of the pixels, as a network would give them."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = mg.Tensor(weights)  # (3 H W, K)

    def parameters(self) -> list[mg.Tensor]:
        return [self.weights]

    def __call__(self, x: mg.Tensor) -> mg.Tensor:
        return x.reshape(len(x), -1) @ self.weights


class Squares(Linear):
    """Weighted sums of the pixels' squares."""

    def __call__(self, x: mg.Tensor) -> mg.Tensor:
        return super().__call__(x**2)


# -- gradients ---------------------------------------------------------------------


@pytest.mark.parametrize("aim", AIMS)
def test_the_gradient_is_the_slope_in_any_direction(aim: str) -> None:
    """In double precision, by central differences."""
    network = guessing("float64")
    random = np.random.default_rng(1)
    x = random.standard_normal((1, 3, 32, 32))
    of = AIMS[aim](scores_of(network, x).argmax(axis=1))
    _, g = with_gradient(network, x, of)
    assert g.dtype == np.float64
    for _ in range(5):
        direction = unit(random.standard_normal(x.shape))
        ends = [
            float(of(mg.Tensor(scores_of(network, x + step * direction))).numpy()[0])
            for step in (1e-6, -1e-6)
        ]
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float((g * direction).sum()), rel=1e-5, abs=1e-9)
        assert slope != 0


@given(
    hnp.arrays("float64", (3, 7), elements=st.floats(-20, 20)),
    st.lists(st.integers(0, 6), min_size=3, max_size=3),
)
def test_the_lead_is_the_log_odds(scores: np.ndarray, classes: list[int]) -> None:
    own = probabilities(scores)[np.arange(3), classes]
    others = probabilities(scores)
    others[np.arange(3), classes] = 0
    lead = lead_over_others(classes)(mg.Tensor(scores)).numpy()
    np.testing.assert_allclose(
        lead, np.log(own) - np.log(others.sum(axis=1)), atol=1e-9
    )


@pytest.mark.parametrize("offset", [0, -1e9, 1e9])
def test_the_lead_does_not_feel_what_all_scores_have_in_common(offset: float) -> None:
    scores = mg.Tensor(np.full((1, 3), offset, "float32"), requires_grad=True)
    lead = lead_over_others([0])(scores)
    np.testing.assert_allclose(lead.numpy(), [-np.log(2)], rtol=1e-6)
    lead.sum().backward()
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad.numpy(), [[1, -0.5, -0.5]], rtol=1e-6)


@pytest.mark.parametrize("aim", AIMS)
def test_pictures_do_not_influence_one_another(looked: Looked, aim: str) -> None:
    network, x, classes = looked
    scores, g = with_gradient(network, x, AIMS[aim](classes))
    for i in range(len(x)):
        alone = with_gradient(network, x[i : i + 1], AIMS[aim](classes[i : i + 1]))
        np.testing.assert_allclose(scores[i], alone[0][0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(g[i], alone[1][0], rtol=1e-3, atol=1e-7)
    assert np.abs(g).max() > 1e-5


def test_frozen_parameters_get_no_gradients(looked: Looked) -> None:
    network, x, classes = looked
    with_gradient(network, x, score_of(classes))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def test_directions_have_length_one_or_are_none() -> None:
    g = np.random.default_rng(0).standard_normal((3, 3, 5, 4)).astype("float32")
    g[1] = 0
    directions = unit(g)
    assert directions.dtype == np.float32
    lengths = np.sqrt((directions**2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(lengths, [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(directions[2] * np.linalg.norm(g[2]), g[2], rtol=1e-5)


# -- maps --------------------------------------------------------------------------


def test_a_gradient_map_is_the_largest_of_the_channels(looked: Looked) -> None:
    network, x, classes = looked
    _, g = with_gradient(network, x, score_of(classes))
    found = saliency.gradient_map(network, x, classes)
    assert found.shape == (2, 40, 40)
    assert found.min() >= 0
    np.testing.assert_array_equal(found, np.abs(g).max(axis=1))


def test_smoothing_without_noise_changes_nothing(looked: Looked) -> None:
    network, x, classes = looked
    smooth = saliency.smooth_grad(network, x, classes, noise=0, copies=3)
    plain = saliency.gradient_map(network, x, classes)
    np.testing.assert_allclose(smooth, plain, rtol=1e-5)


def test_noise_is_a_share_of_each_pictures_range() -> None:
    """The gradient of half a sum of squares is the picture: noisy, as it was given."""
    network = Squares(np.full((3 * 40 * 40, 1), 0.5, "float32"))
    x = np.zeros((2, 3, 40, 40), "float32")
    x[0, 0, 0, 0], x[1, 0, 0, 0] = 1, 10
    seen = []
    for seed in (0, 0, 1):
        maps = saliency.smooth_grad(
            network,  # type: ignore[arg-type]
            x,
            np.zeros(2, int),
            copies=1,
            noise=0.2,
            generator=mg.Generator(seed),
        )
        seen.append(maps)
    # The largest of three standard normals' sizes has a mean of 1.326.
    sizes = seen[0].mean(axis=(1, 2))
    np.testing.assert_allclose(sizes, [1.326 * 0.2, 1.326 * 2], rtol=0.05)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


def test_integration_of_a_straight_line_is_exact_at_once() -> None:
    weights = np.random.default_rng(0).standard_normal((3 * 20 * 20, 4))
    network = Linear(weights.astype("float32"))
    x, classes = normalize(noise(2, side=20)), np.array([3, 1])
    found = saliency.integrated_gradients(network, x, classes)  # type: ignore[arg-type]
    assert found.steps == 16
    slopes = weights[:, classes].T.reshape(x.shape)
    expected = (x - valid_range()[0]) * slopes
    np.testing.assert_allclose(found.attributed, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.gap, 0, atol=1e-3)
    np.testing.assert_array_equal(found.map, found.attributed.sum(axis=1))


def test_integration_of_a_parabola_is_exact_at_once() -> None:
    """Its slope is a line, of which the middles of steps have the mean."""
    weights = np.random.default_rng(0).standard_normal((3 * 20 * 20, 1))
    network = Squares(weights.astype("float32"))
    x = normalize(noise(1, side=20))
    found = saliency.integrated_gradients(
        network,  # type: ignore[arg-type]
        x,
        np.zeros(1, int),
        most=16,
    )
    expected = (x**2 - valid_range()[0] ** 2) * weights.reshape(x.shape)
    np.testing.assert_allclose(found.attributed, expected, rtol=1e-3, atol=1e-4)


def test_attributions_add_up_to_what_was_gained() -> None:
    network, x, classes = photos()
    found = saliency.integrated_gradients(network, x, classes)
    black = np.broadcast_to(valid_range()[0], x.shape).astype("float32")
    gained = scores_of(network, x) - scores_of(network, black)
    np.testing.assert_allclose(found.gained, gained[:, classes[0]], rtol=1e-4)
    total = found.attributed.sum(axis=(1, 2, 3))
    assert gained[0, classes[0]] > 1
    np.testing.assert_allclose(total, found.gained, rtol=0.05)


def test_the_gap_is_a_share_of_what_was_gained() -> None:
    """Of one point, where less was gained."""
    attributed = np.ones((3, 3, 1, 1))  # 3 each
    found = saliency.Attribution(attributed, np.array([4.0, -6.0, 0.5]), 16)
    np.testing.assert_allclose(found.gap, [0.25, 1.5, 2.5])
    np.testing.assert_array_equal(found.map, np.full((3, 1, 1), 3.0))


def test_points_are_doubled_until_the_sum_is_near() -> None:
    network, x, classes = photos()
    rough = saliency.integrated_gradients(network, x, classes, tolerance=1)
    assert rough.steps == 16
    bound = float(rough.gap[0]) * 0.99
    finer = saliency.integrated_gradients(network, x, classes, tolerance=bound)
    assert finer.steps in (32, 64, 128, 256, 512)
    assert finer.gap[0] <= bound
    last = saliency.integrated_gradients(network, x, classes, tolerance=0, most=32)
    assert last.steps == 32


def test_a_coarse_map_is_weighed_features(device: str) -> None:
    """The mean gradient of the features, found by hand: the last layer is linear.

    Each class's score is a mean of what its filter makes of the features, where that
    is above 0; here for classes that it is above 0 for in some places only.
    """
    network, x = guessing_here(), normalize(noise(2, side=64))
    with mg.no_grad():
        features = network.features(mg.Tensor(x, device=device)).numpy()
    state = nn.torch_state_dict(network)
    W = state["classifier.1.weight"].reshape(1000, 512)
    b = state["classifier.1.bias"].reshape(1000, 1, 1)
    before = np.einsum("nchw,kc->nkhw", features, W) + b
    active = (before > 0).mean(axis=(2, 3))  # (N, K)
    classes = np.abs(active - 0.5).argmin(axis=1)
    chosen = active[[0, 1], classes]
    assert (chosen % 1 > 0).all()
    weights = chosen[:, None] / before[0, 0].size * W[classes]
    signed = np.einsum("nc,nchw->nhw", weights, features)
    assert signed.min() < 0
    coarse = np.maximum(signed, 0)
    found = saliency.grad_cam(network, x, classes)
    assert found.shape == (2, 64, 64)
    assert found.min() >= 0
    assert found.max() > 0
    for one, other in zip(found, coarse, strict=True):
        expected = saliency.enlarged(other, (64, 64))
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-6)


def test_a_map_is_enlarged_evenly() -> None:
    flat = saliency.enlarged(np.full((3, 2), 0.25), (50, 40))
    assert flat.shape == (50, 40)
    np.testing.assert_allclose(flat, 0.25)
    slope = saliency.enlarged(np.array([[0.0, 1.0]]), (4, 8))
    np.testing.assert_allclose(slope[0, 2:6], [0.125, 0.375, 0.625, 0.875])
    assert (np.diff(slope, axis=1) >= 0).all()


@pytest.mark.parametrize("name", saliency.METHODS)
def test_every_method_gives_a_map_of_each_picture(looked: Looked, name: str) -> None:
    network, x, classes = looked
    found = saliency.METHODS[name](network, x, classes)
    assert found.shape == (2, 40, 40)
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0


# -- the check ---------------------------------------------------------------------


@given(
    st.integers(2, 40).flatmap(
        lambda n: st.tuples(
            *[hnp.arrays("int64", n, elements=st.integers(-4, 4)) for _ in "ab"]
        )
    )
)
def test_rank_correlation_is_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """With so few values, most have ties."""
    a, b = pair
    found = saliency.rank_correlation(a, b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_rank_correlation_heeds_order_alone() -> None:
    a = np.random.default_rng(0).standard_normal((6, 7))
    assert saliency.rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert saliency.rank_correlation(a, -(a**3)) == pytest.approx(-1)


def test_weights_are_shuffled_layer_by_layer_in_a_copy(device: str) -> None:
    network = guessing_here()
    trained = {name: p.numpy().copy() for name, p in network.named_parameters()}
    names, seen = [], []
    for name, broken in saliency.randomized(network, mg.Generator(0)):
        assert device_of(broken) == device
        names.append(name)
        seen.append({key: p.numpy().copy() for key, p in broken.named_parameters()})
    numbers = (12, 11, 10, 9, 7, 6, 4, 3, 0)
    assert names == ["classifier.1", *(f"features.{i}" for i in numbers)]
    for name, (before, after) in zip(names, pairwise([trained, *seen]), strict=True):
        for key, values in after.items():
            own = key.startswith(f"{name}.")
            assert (values != before[key]).any() == (own and np.ptp(values) > 0)
            expected = np.sort(trained[key], None)
            np.testing.assert_array_equal(np.sort(values, None), expected)
    for name, parameter in network.named_parameters():
        np.testing.assert_array_equal(parameter.numpy(), trained[name])


def test_the_check_tells_a_map_that_asks_no_network(device: str) -> None:
    network, x = guessing_here(), normalize(noise(2))
    classes = scores_of(network, x).argmax(axis=1)
    methods = {"gradient": saliency.gradient_map, "edges": saliency.edges}
    told: list[str] = []
    found = saliency.sanity_check(
        network, x, classes, methods, mg.Generator(0), told.append
    )
    assert told == [layer for layer, _ in found]
    assert len(found) == 10
    assert [alike["edges"] for _, alike in found] == [pytest.approx(1.0)] * 10
    gradients = [alike["gradient"] for _, alike in found]
    assert gradients[-1] < 0.9


def test_learned_maps_fall_with_the_weights() -> None:
    network, x, classes = photos()
    methods = {name: saliency.CHECKED[name] for name in ("gradient", "grad-cam")}
    found = saliency.sanity_check(network, x, classes, methods, mg.Generator(0))
    assert found[-1][1]["gradient"] < 0.5
    assert found[-1][1]["grad-cam"] < 0.5


def test_edges_are_where_a_picture_changes() -> None:
    x = np.zeros((1, 3, 6, 8), "float32")
    x[..., 4:] = 2
    found = saliency.edges(guessing(), x, np.zeros(1, int))
    np.testing.assert_allclose(found[0, 0], [0, 0, 0, 1, 1, 0, 0, 0])
