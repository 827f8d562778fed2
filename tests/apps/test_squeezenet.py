"""Does our SqueezeNet score pictures as the published one does?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import nn
from apps.image_gradients.gradients import frozen, score_of, with_gradient
from apps.image_gradients.pictures import normalize
from apps.image_gradients.squeezenet import SqueezeNet
from apps.image_gradients.weights import WeightsError, load

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
WEIGHTS = SHARED / "squeezenet/squeezenet1_1.npz"
FIXTURE = Path(__file__).resolve().parents[1] / "fixtures/look/gradients.npz"
EXPECTED = SHARED / "squeezenet/expected_scores_imagenet_val_25.npz"
PICTURES = SHARED / "imagenet/imagenet_val_25.npz"

needs_data = pytest.mark.skipif(
    not all(path.exists() for path in (WEIGHTS, EXPECTED, PICTURES)),
    reason=f"{SHARED} does not hold SqueezeNet and ImageNet's pictures",
)


def pretrained() -> SqueezeNet:
    network = SqueezeNet().eval()
    with np.load(WEIGHTS) as weights:
        nn.load_torch_state_dict(network, dict(weights))
    return network


@needs_data
def test_the_published_scores_come_out() -> None:
    with np.load(PICTURES) as pictures, np.load(EXPECTED) as expected:
        x, classes = normalize(pictures["X"]), pictures["y"]
        theirs = expected["scores"]
    with mg.no_grad():
        scores = pretrained()(x).numpy()
    np.testing.assert_allclose(scores, theirs, rtol=1e-3, atol=1e-3)
    ranks = (scores > scores[np.arange(25), classes][:, None]).sum(axis=1)
    assert (ranks == 0).sum() == 13
    assert (ranks < 5).sum() == 20


@needs_data
def test_a_pictures_gradient_is_the_slope_of_its_score() -> None:
    with np.load(PICTURES) as pictures:
        x, y = normalize(pictures["X"][:1]), int(pictures["y"][0])
    network = pretrained()
    for parameter in network.parameters():
        parameter.requires_grad = False
    picture = mg.Tensor(x, requires_grad=True)
    network(picture)[0, y].backward()
    assert picture.grad is not None
    gradient = picture.grad.numpy()
    direction = gradient / np.linalg.norm(gradient)
    step = 1e-2
    with mg.no_grad():
        up, down = (network(x + sign * step * direction)[0, y] for sign in (1, -1))
    slope = (up.item() - down.item()) / (2 * step)
    assert slope == pytest.approx(np.linalg.norm(gradient), rel=0.02)
    assert all(parameter.grad is None for parameter in network.parameters())


def assert_same_gradients(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Each picture's, to 1e-4 of its length, and each pixel to that of the greatest."""
    off = (ours - theirs).reshape(len(ours), -1)
    flat = theirs.reshape(len(theirs), -1)
    lengths = np.linalg.norm(flat, axis=1)
    np.testing.assert_array_less(np.linalg.norm(off, axis=1), 1e-4 * lengths)
    greatest = np.abs(flat).max(axis=1)
    np.testing.assert_array_less(np.abs(off).max(axis=1), 1e-4 * greatest)


def test_gradients_of_photos_are_those_that_pytorch_gave(device: str) -> None:
    """Written by `python -m scripts.make_torch_fixtures`."""
    network = SqueezeNet()
    try:
        load(network, WEIGHTS if WEIGHTS.exists() else None)
    except WeightsError:
        pytest.skip("there are no weights: the extra 'look' has them")
    with np.load(FIXTURE) as fixture:
        x, classes = normalize(fixture["pixels"]), fixture["classes"]
        their_scores, theirs = fixture["scores"], fixture["gradients"]
    scores, ours = with_gradient(frozen(network.to(device)), x, score_of(classes))
    np.testing.assert_allclose(scores, their_scores, rtol=1e-4, atol=1e-3)
    assert_same_gradients(ours, theirs)


@needs_data
def test_gradients_of_imagenets_pictures_are_pytorchs() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.peers import pytorch

    with np.load(PICTURES) as pictures, np.load(WEIGHTS) as weights:
        x, classes = normalize(pictures["X"]), pictures["y"]
        _, theirs = pytorch.picture_gradients(weights, x, classes)
    _, ours = with_gradient(frozen(pretrained()), x, score_of(classes))
    assert_same_gradients(ours, theirs)


def test_names_and_shapes_are_torchvisions() -> None:
    state = nn.torch_state_dict(SqueezeNet())
    assert len(state) == 52
    assert sum(array.size for array in state.values()) == 1_235_496
    assert state["features.12.expand3x3.weight"].shape == (256, 64, 3, 3)
    assert state["classifier.1.bias"].shape == (1000,)


def test_small_pictures_are_scored_too(device: str) -> None:
    network = SqueezeNet().to(device).eval()
    x = mg.Tensor(np.ones((1, 3, 17, 20), "float32")).to(device)
    with mg.no_grad():
        assert network(x).shape == (1, 1000)
