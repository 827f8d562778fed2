"""Does a training step ever wait for the GPU?  Not once, with logging off."""

import numpy as np
import pytest

import minigrad as mg
import nn
from apps.captioning.model import Captioner
from minigrad.testing.strict import count_syncs

VOCABULARY = {"<NULL>": 0, "<START>": 1, "<END>": 2, "<UNK>": 3, "cat": 4, "dog": 5}
CAPTIONS = np.array([[1, 4, 5, 2, 0], [1, 5, 4, 4, 2]])
OPTIMISERS = {
    "SGD": lambda params: nn.SGD(params, lr=0.1),
    "momentum": lambda params: nn.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda params: nn.Adam(params, lr=0.01, weight_decay=0.1),
    "AdamW": lambda params: nn.AdamW(params, lr=0.01),
}


def captioner(cell, device):
    """A captioner on a device, and its loss on data that is there already."""
    generator = mg.Generator(0)
    model = Captioner(VOCABULARY, 4, 5, 6, cell, dropout=0.3, generator=generator)
    features = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    features = mg.Tensor(features, device=device)
    return model.to(device), lambda model: model.loss(features, CAPTIONS)


def perceptron(loss, device):
    """A feed-forward network with biases, and its loss by one of the loss functions."""
    generator = mg.Generator(0)
    layers = nn.Linear(4, 8, generator=generator), mg.relu, nn.Dropout(0.2)
    model = nn.Sequential(*layers, nn.Linear(8, 3, generator=generator)).to(device)
    random = np.random.default_rng(0)
    x = mg.Tensor(random.standard_normal((5, 4)), "float32", device=device)
    targets = {
        "cross_entropy": random.integers(0, 3, 5),
        "mse_loss": random.standard_normal((5, 3)).astype("float32"),
        "bce_with_logits": random.random((5, 3)) > 0.5,
    }[loss]
    targets = mg.Tensor(targets, device=device)
    return model, lambda model: getattr(nn, loss)(model(x), targets)


WORKS = {
    **{cell: (captioner, cell) for cell in ("rnn", "lstm", "gru")},
    **{
        loss: (perceptron, loss)
        for loss in ("cross_entropy", "mse_loss", "bce_with_logits")
    },
}


def steps(work, optimiser, device, count=3):
    """Train; give the losses, which nobody has looked at yet, and the parameters."""
    build, what = WORKS[work]
    mg.manual_seed(0)
    model, loss_of = build(what, device)
    optimizer = OPTIMISERS[optimiser](model.parameters())
    losses = []
    for _ in range(count):
        loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.detach())
    return losses, list(model.parameters())


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("work", WORKS)
def test_a_training_step_waits_for_nothing_and_does_the_same(work, optimiser):
    with count_syncs() as syncs:
        losses, parameters = steps(work, optimiser, "strict")
    assert syncs.places == []
    expected_losses, expected = steps(work, optimiser, "cpu")
    for one, other in zip(
        (*losses, *parameters), (*expected_losses, *expected), strict=True
    ):
        assert one.device == "strict"
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_reading_a_loss_or_a_norm_waits():
    losses, parameters = steps("mse_loss", "SGD", "strict", count=1)
    with count_syncs() as syncs:
        losses[0].item()
        float(nn.clip_grad_norm(parameters, 1.0))
    assert syncs.count == 2
    assert all("test_syncs.py" in place for place in syncs.places)


@pytest.mark.parametrize("ids", [[0, 5], [-1, 0]])
def test_ids_out_of_range_are_looked_at_only_when_searching_for_mistakes(ids):
    ids = mg.Tensor(np.array(ids), device="strict")
    layer = nn.Embedding(5, 3).to("strict")
    with count_syncs() as syncs:
        layer(ids)
        mg.one_hot(ids, 5)
    assert syncs.count == 0
    with mg.detect_anomaly():
        with pytest.raises(ValueError, match="only 0 to 4 exist"):
            layer(ids)
        with pytest.raises(IndexError, match="one_hot got ids"):
            mg.one_hot(ids, 5)


@pytest.mark.parametrize("ids", [[0, 5], [-6, 0]])
@pytest.mark.parametrize(
    "look_up",
    [
        lambda x, ids: mg.take(x, ids, axis=1),
        lambda x, ids: x[..., ids],
        lambda x, ids: x[None, :, ids],
        lambda x, ids: mg.scatter_add(x[:, :2], ids, 5, axis=1),
    ],
)
def test_the_engine_looks_then_too(look_up, ids):
    x = mg.ones((2, 5), requires_grad=True, device="strict")
    wrong = mg.Tensor(np.array(ids), device="strict")
    look_up(x, wrong)
    with mg.detect_anomaly():
        look_up(x, mg.Tensor(np.array([-5, 4]), device="strict")).sum().backward()
        with pytest.raises(IndexError, match="of size 5"):
            look_up(x, wrong)
