"""Every array of a step comes from a call that an observer saw, or from outside.

A compiler that records a step needs that: forward, gradients, clipping and update, the
random draws and masks are all calls of primitives, and no value is looked at.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from apps.captioning.model import Captioner
from apps.cola.grams import GramJudge
from apps.cola.model import ClassificationTransformer, SentenceTransformer
from apps.image_gradients import gradients
from apps.image_gradients.squeezenet import SqueezeNet
from minigrad.backend import is_array
from minigrad.tape import Call, Observer, Scope
from minigrad.tape.writes import owner_of

Step = Callable[[], object]


class Capture(Observer):
    """Notes the operands that no call before has made, and the values that are read."""

    on_arrays = on_tensors = True

    def __init__(self, known: Iterable[Any]) -> None:
        self.owners = {id(owner_of(array)): array for array in known}
        self.calls: list[Call] = []
        self.unknown: list[str] = []
        self.reads: list[str] = []

    def called(self, call: Call, entry: Any, seconds: float) -> None:
        self.calls.append(call)
        for i, x in enumerate(call.operands):
            if is_array(x) and id(owner_of(x)) not in self.owners:
                self.unknown.append(f"operand {i} of {call.primitive.name}, {place()}")
        for x in call.results:
            if is_array(x):
                self.owners[id(owner_of(x))] = x

    def read(self, tensor: Any) -> None:
        self.reads.append(place())


def place() -> str:
    """Where nn or an app, the innermost of them, asked for it."""
    frames = [f for f in traceback.extract_stack() if "/tape/" not in f.filename]
    return f"{frames[-3].filename}:{frames[-3].lineno}"


def arrays_of(model: nn.Module, optimizer: nn.optim.Optimizer | None) -> list[Any]:
    """What a step may find there: parameters, gradients, moments."""
    found = [p.array for p in model.parameters()]
    for state in optimizer._states if optimizer else []:
        found += [value for value in state.values() if is_array(value)]
    return found


def training(
    model: nn.Module, loss: Callable[[], Any], *inputs: Any
) -> tuple[Step, list[Any]]:
    """A step as `apps.run` makes it, clipping included, and what it may find."""
    optimizer = nn.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        value = loss()
        optimizer.zero_grad()
        value.backward()
        nn.clip_grad_norm(model.parameters(), 1e-3)
        optimizer.step()

    step()  # moments are made at the first step
    return step, [*inputs, *arrays_of(model, optimizer)]


VOCABULARY = {
    word: i
    for i, word in enumerate(["<NULL>", "<START>", "<END>", "<UNK>", "a", "dog"])
}
CAPTIONS = np.array([[1, 4, 5, 2, 0], [1, 4, 2, 0, 0]])
IDS = np.array([[1, 2, 3, 0], [2, 3, 4, 5]])
LABELS = np.array([1.0, 0.0], np.float32)


def captioning(cell: str) -> tuple[Step, list[Any]]:
    model = Captioner(
        VOCABULARY,
        input_dim=6,
        wordvec_dim=4,
        hidden_dim=5,
        cell=cell,
        dropout=0.3,
        generator=mg.Generator(0),
    )
    features = np.ones((2, 6), np.float32)
    state = model.dropout.generator.drawn_from()
    inputs = (features, CAPTIONS, state)
    return training(model, lambda: model.loss(features, CAPTIONS), *inputs)


def cola(kind: type[nn.Module], **settings: Any) -> tuple[Step, list[Any]]:
    generator = mg.Generator(0)
    model = kind(8, generator=generator, **settings)
    inputs = (IDS, LABELS, generator.drawn_from())
    return training(model, lambda: nn.bce_with_logits(model(IDS), LABELS), *inputs)


def pixels(of: Callable[[Any], Any]) -> tuple[Step, list[Any]]:
    network = gradients.frozen(SqueezeNet())
    x = np.ones((2, 3, 64, 64), np.float32)
    known = [x, CLASSES, *arrays_of(network, None)]
    return lambda: gradients.with_gradient(network, x, of), known


CLASSES = np.array([1, 2])
STEPS: dict[str, Callable[[], tuple[Step, list[Any]]]] = {
    "captioning rnn": lambda: captioning("rnn"),
    "captioning lstm": lambda: captioning("lstm"),
    "captioning gru": lambda: captioning("gru"),
    "cola runs of words": lambda: training(
        (model := GramJudge(8)),
        lambda: nn.bce_with_logits(model(IDS), LABELS),
        IDS,
        LABELS,
    ),
    "cola course": lambda: cola(ClassificationTransformer),
    "cola own": lambda: cola(SentenceTransformer, word_dropout=0.2, dropout=0.1),
    "pixels of a score": lambda: pixels(gradients.score_of(CLASSES)),
    "pixels of a lead": lambda: pixels(gradients.lead_over_others(CLASSES)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_made_of_calls_alone(name: str) -> None:
    step, known = STEPS[name]()
    with Scope(observer=Capture(known)) as capture:
        step()
    assert len(capture.calls) > (20 if name == "cola runs of words" else 90)
    assert capture.unknown == []
    results = 2 if name.startswith("pixels") else 0  # what it is for: scores, gradient
    assert len(capture.reads) == results


def test_a_step_that_is_captured_gives_the_same_weights() -> None:
    """Rules on Tensors compute what rules on arrays do, sums in another order."""

    def weights(captured: bool) -> list[np.ndarray]:
        model = Captioner(
            VOCABULARY, 6, 4, 5, "lstm", dropout=0.3, generator=mg.Generator(0)
        )
        features = np.ones((2, 6), np.float32)
        step, known = training(model, lambda: model.loss(features, CAPTIONS))
        with Scope(observer=Capture(known) if captured else None):
            step()
        return [p.numpy() for p in model.parameters()]

    for ours, theirs in zip(weights(True), weights(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_an_array_that_no_call_made_is_found() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    with Scope(observer=Capture([x.array])) as capture:
        y = x * np.array([1.0, 2.0], np.float32)
        float(y.sum())
    assert len(capture.unknown) == len(capture.reads) == 1
