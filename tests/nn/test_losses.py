"""Are the losses what they are defined as, stable, and strict about their operands?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad.ops import losses as ops_losses
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
    loss = lambda s: nn.temporal_softmax_loss(s, *put((targets, mask)))  # noqa: E731
    (error,) = gradient_errors(loss, [scores], rng, h=1e-4)
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


@pytest.mark.parametrize("bad", [-np.inf, np.inf, np.nan])
def test_a_masked_step_does_not_count_whatever_stands_there(bad):
    """Value, gradient and second derivative are those without the step."""
    rng = np.random.default_rng(0)
    scores, targets = rng.standard_normal((2, 3, 4)), rng.integers(0, 4, (2, 3))
    mask = np.array([[True, False, True], [False, False, True]])

    def results(values):
        x = put(mg.Tensor(values, requires_grad=True))
        loss = nn.temporal_softmax_loss(x, *put((targets, mask)))
        first = mg.grad(loss, x, create_graph=True)
        second = mg.grad(mg.sum(first * first * first), x)
        return [t.numpy() for t in (loss, first, second)]

    expected = results(np.where(mask[..., None], scores, 0))
    scores[~mask] = bad
    scores[1, 0] = [bad, 0, 0, 0]
    for ours, theirs in zip(results(scores), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Cross-entropy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [-1e9, 1e9, 2.0**100])
def test_scores_far_from_zero_lose_no_digits(dtype, offset):
    scores = put(mg.Tensor(np.full((1, 3), offset, dtype), requires_grad=True))
    three = put(np.array([[0, 0, 0]]))
    losses = {
        "cross_entropy": nn.cross_entropy(scores, put(np.array([0]))),
        "temporal": nn.temporal_softmax_loss(
            mg.expand_dims(scores, axis=1), three[:, :1], three[:, :1] == 0
        ),
    }
    for loss in losses.values():
        np.testing.assert_allclose(loss.item(), np.log(3), rtol=1e-6)
        (gradient,) = mg.grad(loss, [scores])
        np.testing.assert_allclose(gradient.numpy(), [[-2 / 3, 1 / 3, 1 / 3]], 1e-6)


@given(seed=seeds, spread=st.floats(0.1, 1e4), offset=st.integers(-(2**40), 2**40))
def test_cross_entropy_does_not_feel_an_offset(seed, spread, offset):
    """Scores of few digits, so that the offset itself is exact."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.standard_normal((4, 5)) * spread, 0)
    targets = rng.integers(0, 5, 4)
    here = nn.cross_entropy(put(mg.Tensor(scores)), targets, "none").numpy()
    there = nn.cross_entropy(put(mg.Tensor(scores + offset)), targets, "none").numpy()
    np.testing.assert_array_equal(here, there)


def test_more_rows_than_a_tile_holds_are_all_counted(monkeypatch):
    rng = np.random.default_rng(0)
    scores, targets = rng.standard_normal((11, 7)), rng.integers(0, 7, 11)
    results = []
    for tile in (1, 15, 10**6):
        monkeypatch.setattr(ops_losses, "TILE", tile)
        x = put(mg.Tensor(scores, requires_grad=True))
        losses = nn.cross_entropy(x, targets, "none")
        mg.sum(losses * put(np.arange(11.0))).backward()
        results.append((losses.numpy(), x.grad.numpy()))
    for values, gradient in results[:2]:
        np.testing.assert_array_equal(values, results[2][0])
        np.testing.assert_array_equal(gradient, results[2][1])


def test_no_rows_have_no_losses():
    scores = put(mg.Tensor(np.zeros((0, 3)), requires_grad=True))
    losses = nn.cross_entropy(scores, [], reduction="none")
    assert losses.shape == (0,)
    losses.sum().backward()
    assert scores.grad.shape == (0, 3)


# In few digits


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "int64", bool])
def test_losses_of_whole_numbers_do_not_wrap(dtype):
    top = np.asarray(1 if dtype is bool else min(np.iinfo(dtype).max, 2**20))
    zero, high = np.zeros(1, dtype), top.astype(dtype).reshape(1)
    for a, b in ((zero, high), (high, zero)):
        for loss in (nn.mse_loss(a, b), nn.mse_loss(mg.Tensor(a), b)):
            np.testing.assert_allclose(float(loss), float(top) ** 2, rtol=1e-6)
    scores = np.array([[0, int(top)]]).astype(dtype)
    expected = np.logaddexp(0, float(top))
    np.testing.assert_allclose(float(nn.cross_entropy(scores, [0])), expected, 1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_lists_and_whole_numbers_take_the_dtype_of_the_other_operand(dtype):
    for kind in ("float32", "float64"):
        x = put(mg.Tensor([0.1, 0.7], kind))
        for targets in ([0, 1], put(np.array([0, 1], dtype))):
            assert nn.mse_loss(x, targets).dtype == kind
            assert nn.bce_with_logits(x, targets).dtype == kind
    exact = nn.mse_loss(np.zeros(1), [0.1])
    assert exact == 0.1 * 0.1  # not rounded to float32 on its way


def half(values):
    return put(mg.Tensor(np.array(values, "float16"), requires_grad=True))


def test_losses_of_float16_are_sums_of_float32():
    x = half([300, 0, 0, 0])
    loss = nn.mse_loss(x, put(np.zeros(4, "float16")))
    loss.backward()
    assert (loss.item(), loss.dtype) == (22496, "float16")  # 22500, rounded
    np.testing.assert_array_equal(x.grad.numpy(), [150, 0, 0, 0])
    scores = half(np.zeros((300, 40, 1004)))
    ids = np.zeros((300, 40), int)
    loss = nn.temporal_softmax_loss(scores, *put((ids, ids == 0)))
    loss.backward()  # a sum of 83,000, more than float16 holds, over 300
    np.testing.assert_allclose(loss.item(), 40 * np.log(1004), rtol=1e-3)
    assert np.isfinite(scores.grad.numpy()).all()
    scores = half([[300, 0, -300, 6e4]])
    loss = nn.cross_entropy(scores, put(np.array([0])))
    loss.backward()
    np.testing.assert_allclose(loss.item(), 6e4 - 300, rtol=1e-3)
    np.testing.assert_array_equal(scores.grad.numpy(), [[-1, 0, 0, 1]])
    logits = half([6e4, -6e4])
    assert nn.bce_with_logits(logits, put(np.array([1, 0]))).item() == 0


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
    says(error, "cross_entropy", "(2, 3)", "(2,)", "targets (N,)")
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", [0, 1e-3, 1, 10, 20, 30, 80, 1e4, 1e30, np.inf])
@pytest.mark.parametrize("sure", [0, 1])
def test_a_small_loss_has_all_its_digits(x, sure, dtype):
    """Certain and right: the loss is log(1 + e ** -x) from either side."""
    logit = np.array([x if sure else -x], dtype)
    logits = put(mg.Tensor(logit, requires_grad=True))
    loss = nn.bce_with_logits(logits, put(np.array([sure], dtype)))
    np.testing.assert_allclose(loss.item(), np.log1p(np.exp(-x)), rtol=1e-6)
    loss.backward()
    assert np.isfinite(logits.grad.numpy()).all()


@pytest.mark.parametrize("t", [0, 0.25, 1])
def test_bce_with_logits_has_its_slope_at_zero(t):
    logits = put(mg.Tensor(np.zeros(1), requires_grad=True))
    loss = nn.bce_with_logits(logits, put(np.array([t])))
    first = mg.grad(loss, logits, create_graph=True)
    assert first.item() == 0.5 - t
    assert mg.grad(first, logits).item() == 0.25


def test_bce_with_logits_survives_huge_logits():
    logits = put(mg.Tensor(np.array([-1e4, 1e4, 1e4]), requires_grad=True))
    targets = put(np.array([0.0, 1.0, 0.0]))
    loss = nn.bce_with_logits(logits, targets, reduction="sum")
    loss.backward()
    assert loss.item() == 1e4
    np.testing.assert_allclose(logits.grad.numpy(), [0, 0, 1])
