"""A step of every app, compiled: the same losses and weights as uncompiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
import nn
from apps.captioning.model import Captioner
from apps.cola.grams import GramJudge
from apps.cola.model import ClassificationTransformer, SentenceTransformer
from apps.image_gradients import gradients
from apps.image_gradients.squeezenet import SqueezeNet

VOCABULARY = {
    word: i
    for i, word in enumerate(["<NULL>", "<START>", "<END>", "<UNK>", "a", "dog"])
}
CAPTIONS = np.array([[1, 4, 5, 2, 0], [1, 4, 2, 0, 0]])
FEATURES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
IDS = np.array([[1, 2, 3, 0], [2, 3, 4, 5]])
LABELS = np.array([1.0, 0.0], np.float32)


class Work(NamedTuple):
    """What is trained: a model, its loss, and what the loss is given."""

    model: nn.Module
    loss: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]


def captioning(cell: str) -> Work:
    model = Captioner(
        VOCABULARY,
        input_dim=6,
        wordvec_dim=4,
        hidden_dim=5,
        cell=cell,
        dropout=0.3,
        generator=mg.Generator(0),
    )
    return Work(model, model.loss, (FEATURES, CAPTIONS))


def cola(kind: type[nn.Module], **settings: Any) -> Work:
    mg.manual_seed(0)
    model = kind(8, **settings)

    def loss(ids: Any, labels: Any) -> Any:
        return nn.bce_with_logits(model(ids), labels)

    return Work(model, loss, (IDS, LABELS))


WORKS: dict[str, Callable[[], Work]] = {
    "captioning rnn": lambda: captioning("rnn"),
    "captioning lstm": lambda: captioning("lstm"),
    "captioning gru": lambda: captioning("gru"),
    "cola runs of words": lambda: cola(GramJudge),
    "cola course": lambda: cola(ClassificationTransformer),
    "cola own": lambda: cola(SentenceTransformer, word_dropout=0.2, dropout=0.1),
}


def train(work: Work, compiled: bool) -> list[np.ndarray]:
    """Losses of a few steps as `apps.run` makes them, and the weights then."""
    # With a large eps, a gradient that is round-off alone makes no step.
    optimizer = nn.AdamW(work.model.parameters(), lr=1e-2, eps=1e-3)

    def step(*inputs: Any) -> Any:
        value = work.loss(*inputs)
        optimizer.zero_grad()
        value.backward()
        nn.clip_grad_norm(work.model.parameters(), 1e-1)
        optimizer.step()
        return value

    function = mg.compile(step) if compiled else step
    losses = [np.array(function(*work.inputs).item()) for _ in range(4)]
    return [*losses, *(p.numpy() for p in work.model.parameters())]


@pytest.mark.parametrize("name", WORKS)
def test_training_gives_the_same_compiled(name: str) -> None:
    found = train(WORKS[name](), compiled=True)
    expected = train(WORKS[name](), compiled=False)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


CLASSES = np.array([1, 2])
PIXELS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "a score": gradients.score_of,
    "a lead": gradients.lead_over_others,
}


@pytest.mark.parametrize("name", PIXELS)
def test_gradients_of_pixels_are_the_same_compiled(name: str) -> None:
    network = gradients.frozen(SqueezeNet())
    random = np.random.default_rng(0)

    def step(x: Any, classes: Any) -> Any:
        scores = network(x)
        return scores, mg.grad(PIXELS[name](classes)(scores).sum(), x)

    compiled = mg.compile(step)
    for _ in range(3):
        x = random.standard_normal((2, 3, 64, 64), np.float32)
        given = mg.Tensor(x, requires_grad=True)
        for ours, theirs in zip(
            compiled(given, CLASSES), step(given, CLASSES), strict=True
        ):
            size = np.abs(theirs.numpy()).max()
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5 * size)
