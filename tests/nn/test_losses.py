"""Are the losses what they are defined as, stable, and strict about their operands?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from tests.devices import put
from tests.nn.reference import gradient_errors, says

pytestmark = pytest.mark.usefixtures("device")


seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 6)


def log_softmax(scores):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


# Temporal softmax


@pytest.mark.parametrize(
    ("N", "T", "kept", "low", "high"),
    [(100, 1, 1.0, 2.29, 2.31), (100, 10, 1.0, 22.9, 23.1), (5000, 10, 0.1, 2.2, 2.4)],
)
def test_temporal_softmax_has_the_reference_values(N, T, kept, low, high):
    rng = np.random.default_rng(231)
    scores = put(mg.Tensor(0.001 * rng.standard_normal((N, T, 10))))
    targets = rng.integers(0, 10, (N, T))
    mask = rng.random((N, T)) <= kept
    loss = nn.temporal_softmax_loss(scores, *put((targets, mask))).item()
    assert low <= loss <= high


def test_temporal_softmax_gradients():
    rng = np.random.default_rng(231)
    scores = rng.standard_normal((7, 8, 9))
    targets, mask = rng.integers(0, 9, (7, 8)), rng.random((7, 8)) > 0.5
    (error,) = gradient_errors(
        lambda s: nn.temporal_softmax_loss(s, *put((targets, mask))), [scores], rng
    )
    assert error < 1e-7


@given(N=lengths, T=lengths, V=lengths, seed=seeds)
def test_temporal_softmax_sums_over_unmasked_steps_and_divides_by_n(N, T, V, seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((N, T, V))
    targets, mask = rng.integers(0, V, (N, T)), rng.random((N, T)) > 0.3
    chosen = np.take_along_axis(log_softmax(scores), targets[..., None], axis=2)
    expected = -(chosen[..., 0] * mask).sum() / N
    operands = put((mg.Tensor(scores), targets, mask))
    ours = nn.temporal_softmax_loss(*operands).item()
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_masked_targets_are_not_looked_at():
    scores = put(mg.Tensor(np.zeros((1, 3, 4))))
    mask = put(np.array([[True, False, True]]))
    loss = nn.temporal_softmax_loss(scores, put(np.array([[1, -7, 2]])), mask)
    np.testing.assert_allclose(loss.item(), 2 * np.log(4))


def test_temporal_softmax_keeps_float32():
    scores = put(mg.Tensor(np.zeros((1, 2, 4), "float32")))
    mask = np.array([[True, True]])
    loss = nn.temporal_softmax_loss(scores, *put((np.array([[1, 2]]), mask)))
    assert loss.dtype == np.float32


def test_temporal_softmax_names_what_does_not_fit():
    scores, ids = put(mg.Tensor(np.zeros((2, 3, 4)))), np.zeros((2, 3), int)
    with pytest.raises(TypeError, match="mask") as error:
        nn.temporal_softmax_loss(scores, ids, np.ones((2, 3)))
    says(error, "temporal_softmax_loss", "float64", "boolean", "targets != null_id")
    with pytest.raises(ValueError, match="mask has shape"):
        nn.temporal_softmax_loss(scores, ids, np.ones(2, bool))
    with pytest.raises(ValueError, match="targets has shape"):
        nn.temporal_softmax_loss(scores, ids[:, :2], ids > 0)
    with pytest.raises(ValueError, match="scores has shape"):
        nn.temporal_softmax_loss(scores[0], ids, ids > 0)
    with pytest.raises(ValueError, match="only 0 to 3"):
        nn.temporal_softmax_loss(scores, ids + 4, ids == 0)
    with pytest.raises(TypeError, match="integers"):
        nn.temporal_softmax_loss(scores, ids + 0.5, ids == 0)


# Cross-entropy


@given(N=lengths, C=lengths, seed=seeds, shift=st.floats(-1e3, 1e3))
def test_cross_entropy_is_negative_log_softmax_whatever_the_shift(N, C, seed, shift):
    rng = np.random.default_rng(seed)
    scores, targets = rng.standard_normal((N, C)), rng.integers(0, C, N)
    expected = -log_softmax(scores)[np.arange(N), targets]
    shifted = put(mg.Tensor(scores + shift))
    each = nn.cross_entropy(shifted, targets, reduction="none").numpy()
    np.testing.assert_allclose(each, expected, rtol=1e-8, atol=1e-10)
    mean = nn.cross_entropy(shifted, targets).item()
    np.testing.assert_allclose(mean, expected.mean(), rtol=1e-8, atol=1e-10)
    total = nn.cross_entropy(shifted, targets, reduction="sum").item()
    np.testing.assert_allclose(total, expected.sum(), rtol=1e-8, atol=1e-10)


@given(N=lengths, C=lengths, seed=seeds)
def test_cross_entropy_gradient_is_softmax_minus_one_hot(N, C, seed):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, C, N)
    scores = put(mg.Tensor(rng.standard_normal((N, C)), requires_grad=True))
    nn.cross_entropy(scores, targets).backward()
    expected = (np.exp(log_softmax(scores.numpy())) - np.eye(C)[targets]) / N
    np.testing.assert_allclose(scores.grad.numpy(), expected, atol=1e-12)


def test_cross_entropy_survives_huge_scores():
    scores = put(mg.Tensor(np.array([[1e4, -1e4], [-1e4, 1e4]]), requires_grad=True))
    loss = nn.cross_entropy(scores, [0, 0])
    loss.backward()
    assert loss.item() == 1e4
    assert np.isfinite(scores.grad.numpy()).all()


def test_cross_entropy_names_what_does_not_fit():
    scores = put(mg.Tensor(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="targets") as error:
        nn.cross_entropy(scores, np.zeros((2, 3), int))
    says(error, "cross_entropy", "(2, 3)", "(2,)", "not one-hot")
    with pytest.raises(ValueError, match="scores has shape"):
        nn.cross_entropy(put(mg.Tensor(np.zeros((2, 3, 4)))), [0, 1])
    with pytest.raises(TypeError, match="integers"):
        nn.cross_entropy(scores, np.zeros(2))
    with pytest.raises(ValueError, match="only 0 to 2") as error:
        nn.cross_entropy(scores, np.array([0, -1]))
    says(error, "from -1 to 0", "cross_entropy: targets")
    with pytest.raises(ValueError, match="reduction") as error:
        nn.cross_entropy(scores, [0, 1], reduction="average")
    says(error, "cross_entropy", "'average'", "'mean', 'sum' or 'none'")


# Numbers and probabilities


def test_mse_loss_is_the_mean_of_squares():
    predictions = put(mg.Tensor(np.array([1.0, 2.0, 4.0]), requires_grad=True))
    loss = nn.mse_loss(predictions, put(np.array([1.0, 0.0, 1.0])))
    loss.backward()
    np.testing.assert_allclose(loss.item(), 13 / 3)
    np.testing.assert_allclose(predictions.grad.numpy(), [0, 4 / 3, 2])
    zeros = put(np.zeros(3))
    assert nn.mse_loss(predictions, zeros, reduction="sum").item() == 21
    assert nn.mse_loss(predictions, zeros, reduction="none").shape == (3,)


@pytest.mark.parametrize("loss", [nn.mse_loss, nn.bce_with_logits])
def test_shapes_are_not_broadcast(loss):
    with pytest.raises(ValueError, match="targets has shape") as error:
        loss(put(mg.Tensor(np.zeros((3, 1)))), np.zeros(3))
    says(error, loss.__name__, "(3,)", "(3, 1)", "Reshape")


@pytest.mark.parametrize("loss", [nn.mse_loss, nn.bce_with_logits])
@pytest.mark.parametrize("targets", [[1, 0], [True, False]])
def test_whole_targets_do_not_widen(loss, targets):
    targets = put(np.array(targets))
    assert loss(put(mg.Tensor([0.5, 0.25])), targets).dtype == np.float32


@pytest.mark.parametrize("loss", [nn.mse_loss, nn.bce_with_logits])
def test_targets_may_be_trained_too(loss):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 2)), rng.random((3, 2))]
    assert max(gradient_errors(loss, arrays, rng)) < 1e-7


@given(seed=seeds, scale=st.floats(0.1, 30))
def test_bce_with_logits_is_its_definition_and_symmetric(seed, scale):
    rng = np.random.default_rng(seed)
    x, t = scale * rng.standard_normal(5), rng.random(5)
    expected = t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)
    ours = nn.bce_with_logits(put(mg.Tensor(x)), put(t), reduction="none").numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
    mirrored = nn.bce_with_logits(put(mg.Tensor(-x)), put(1 - t)).item()
    np.testing.assert_allclose(mirrored, expected.mean(), rtol=1e-9, atol=1e-12)


def test_bce_with_logits_survives_huge_logits():
    logits = put(mg.Tensor(np.array([-1e4, 1e4, 1e4]), requires_grad=True))
    targets = put(np.array([0.0, 1.0, 0.0]))
    loss = nn.bce_with_logits(logits, targets, reduction="sum")
    loss.backward()
    assert loss.item() == 1e4
    np.testing.assert_allclose(logits.grad.numpy(), [0, 0, 1])
