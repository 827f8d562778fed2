"""Does the captioner compute what the courses' captioner computes?"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
import nn
from apps.captioning.decode import Decoding
from apps.captioning.model import Captioner, Ensemble
from tests.devices import put

# The reference's own: no <START>, no <END>, and an id that no caption uses.
THREE_WORDS = {"<NULL>": 0, "cat": 2, "dog": 3}
VOCABULARY = {"<NULL>": 0, "<START>": 1, "<END>": 2, "<UNK>": 3, "cat": 4, "dog": 5}

pytestmark = pytest.mark.usefixtures("device")


def linspace(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(low, high, num=int(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize(
    ("cell", "low", "high", "expected"),
    [("rnn", -1.5, 0.3, 9.83235591003), ("lstm", -0.5, 1.7, 9.82445935443)],
)
def test_reference_loss(cell: str, low: float, high: float, expected: float) -> None:
    n, d, w, h, t = 10, 20, 30, 40, 13
    model = put(Captioner(THREE_WORDS, d, w, h, cell, "float64"))
    for parameter in model.parameters():
        parameter.data = put(linspace(-1.4, 1.3, parameter.shape))
    captions = np.arange(n * t).reshape(n, t) % len(THREE_WORDS)
    loss = model.loss(linspace(low, high, (n, d)), captions)
    assert abs(loss.item() - expected) <= 1e-10


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_by_central_differences(cell: str) -> None:
    rng = np.random.default_rng(0)
    generator = mg.Generator(1)
    model = put(Captioner(VOCABULARY, 4, 5, 6, cell, "float64", generator=generator))
    features = rng.normal(size=(2, 4))
    captions = np.array([[1, 4, 5, 2, 0], [1, 5, 4, 4, 2]])
    model.loss(features, captions).backward()
    for name, parameter in model.named_parameters():
        direction = put(rng.normal(size=parameter.shape))
        start = parameter.data
        losses = []
        for sign in (1, -1):
            parameter.data = start + sign * 1e-6 * direction
            losses.append(model.loss(features, captions).item())
        parameter.data = start
        expected = (losses[0] - losses[1]) / 2e-6
        actual = float(np.sum(parameter.grad.data * direction))
        assert abs(actual - expected) <= 5e-6 * (abs(actual) + abs(expected)), name


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_sample_is_the_greedy_path_of_the_loss(cell: str) -> None:
    """Each sampled word must be the best next word after all the words before it."""
    generator = mg.Generator(2)
    model = put(Captioner(VOCABULARY, 4, 5, 6, cell, "float64", generator=generator))
    # The loss never asks for <NULL>, so it cannot tell how likely that would be.
    model.score.b.data = put(np.array([-100.0, 0, 0, 0, 0, 0]))
    features = np.random.default_rng(3).normal(size=(20, 4))
    captions = model.sample(features, 7, Decoding(allow_unknown=True))
    for row, ids in zip(features, captions.tolist(), strict=True):
        spoken = [VOCABULARY["<START>"]]
        for word in ids[: ids.index(2) + 1 if 2 in ids else 7]:
            losses = [
                model.loss(row[None], np.array([[*spoken, other]])).item()
                for other in range(2, len(VOCABULARY))
            ]
            assert word == 2 + np.argmin(losses)
            spoken.append(word)


def test_sample_stops_at_end_and_keeps_the_mode() -> None:
    model = put(Captioner(VOCABULARY, 4, 5, 6, dropout=0.5, generator=mg.Generator(0)))
    model.score.W.data = put(np.zeros(model.score.W.shape, np.float32))
    model.score.b.data = put(np.array([0, 0, 9, 0, 0, 0], np.float32))
    captions = model.sample(np.zeros((3, 4), np.float32))
    assert captions.shape == (3, 30)
    assert (captions[:, 0] == 2).all()
    assert (captions[:, 1:] == 0).all()
    assert model.training
    assert model.dropout.training


def test_dropout_drops_while_training_only() -> None:
    model = put(Captioner(VOCABULARY, 4, 5, 6, dropout=0.5, generator=mg.Generator(0)))
    features = np.ones((2, 4), np.float32)
    captions = np.array([[1, 4, 2], [1, 5, 2]])
    first, second = (model.loss(features, captions).item() for _ in range(2))
    assert first != second
    model.eval()
    first, second = (model.loss(features, captions).item() for _ in range(2))
    assert first == second


def test_words_and_outputs_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    model = put(Captioner(VOCABULARY, 4, 5, 6, dropout=0.5, generator=mg.Generator(0)))
    shapes = []

    def note(_: nn.Dropout, x: mg.Tensor) -> mg.Tensor:
        shapes.append(x.shape)
        return x

    monkeypatch.setattr(nn.Dropout, "forward", note)
    model.loss(np.ones((2, 4), np.float32), np.array([[1, 4, 2], [1, 5, 2]]))
    assert shapes == [(2, 2, 5), (2, 2, 6)]


def test_nothing_is_dropped_in_sampling() -> None:
    model = put(Captioner(VOCABULARY, 4, 5, 6, dropout=0.9, generator=mg.Generator(0)))
    features = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    while_training = model.sample(features)
    np.testing.assert_array_equal(while_training, model.eval().sample(features))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_start_has_small_words_and_remembers(cell: str) -> None:
    words = {"<NULL>": 0, **{f"w{i}": i for i in range(1, 400)}}
    model = put(Captioner(words, 4, 50, 6, cell, generator=mg.Generator(0)))
    assert model.embed.W.numpy().std() == pytest.approx(0.3, rel=0.05)
    biases = {n: p.numpy() for n, p in model.named_parameters() if p.ndim == 1}
    if cell == "lstm":
        gates = biases.pop("recur.b").reshape(4, 6)
        assert gates.tolist() == [[0] * 6, [1] * 6, [0] * 6, [0] * 6]
    assert biases
    assert not any(b.any() for b in biases.values())


def two_members(dtype: str = "float64") -> tuple[Ensemble, list[Captioner]]:
    generator = mg.Generator(4)
    members = [
        put(Captioner(VOCABULARY, 4, 5, 6, "lstm", dtype, generator=generator))
        for _ in range(2)
    ]
    return Ensemble(members), members


def test_an_ensemble_says_what_is_likeliest_on_average() -> None:
    ensemble, members = two_members()
    features = np.random.default_rng(5).normal(size=(3, 4))
    words = np.array([1, 1, 4])
    states = [member.first_state(features) for member in members]
    expected = 0
    for member, state in zip(members, states, strict=True):
        p = np.exp(member.step(state, words)[1])
        expected += p / p.sum(axis=1, keepdims=True) / 2
    with mg.no_grad():
        _, log_p = ensemble.step(ensemble.first_state(features), words)
    np.testing.assert_allclose(np.exp(log_p), expected, rtol=1e-12)


def test_an_ensemble_goes_on_from_its_own_states() -> None:
    ensemble, _ = two_members()
    features = np.random.default_rng(5).normal(size=(6, 4))
    for how in (Decoding(), Decoding("sample"), Decoding("beam", beam_size=3)):
        together = ensemble.sample(features, 7, how)
        alone = [
            ensemble.sample(row[None], 7, how, [number])[0]
            for number, row in enumerate(features)
        ]
        np.testing.assert_array_equal(together, alone)


def test_each_member_learns_as_it_would_alone() -> None:
    ensemble, members = two_members()
    features = np.random.default_rng(6).normal(size=(2, 4))
    captions = np.array([[1, 4, 5, 2, 0], [1, 5, 4, 4, 2]])
    ensemble.loss(features, captions).backward()
    together = [[p.grad.numpy() for p in member.parameters()] for member in members]
    for member, gradients in zip(members, together, strict=True):
        for parameter in member.parameters():
            parameter.grad = None
        member.loss(features, captions).backward()
        for parameter, gradient in zip(member.parameters(), gradients, strict=True):
            np.testing.assert_allclose(2 * gradient, parameter.grad.numpy(), rtol=1e-12)


def test_no_captioners_are_no_ensemble() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        Ensemble([])


def test_errors_name_the_way_out() -> None:
    with pytest.raises(ValueError, match="'rnn', 'lstm', 'gru'"):
        Captioner(VOCABULARY, 4, 5, 6, "elman")
    with pytest.raises(ValueError, match="Add <NULL> to it"):
        Captioner({"cat": 0}, 4, 5, 6)
    with pytest.raises(ValueError, match="lacks <START> and <END>"):
        Captioner(THREE_WORDS, 4, 5, 6).sample(np.zeros((1, 4), np.float32))
