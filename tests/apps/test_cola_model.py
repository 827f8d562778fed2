"""Does the course's Transformer give its tensors, and does ours ignore padding?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from apps.cola.model import ClassificationTransformer, SentenceTransformer

FILE = Path(__file__).resolve().parents[3] / (
    "shared/data/cola_7643/reference_transformer.npz"
)


def weights_of(file: np.lib.npyio.NpzFile) -> dict[str, np.ndarray]:
    """The file's weights, (out, in) and one head at a time, under our names."""

    def heads() -> dict[str, np.ndarray]:
        names = [f"weights/{kind}{head}" for kind in "qkv" for head in (1, 2)]
        all_heads = [[file[f"{name}.{part}"] for name in names] for part in PARTS]
        weight, bias = map(np.concatenate, all_heads)
        return {"layer.attention.Wqkv": weight.T, "layer.attention.bqkv": bias}

    def linear(theirs: str, ours: str) -> dict[str, np.ndarray]:
        weight, bias = (file[f"weights/{theirs}.{part}"] for part in PARTS)
        return {f"{ours}.W": weight.T, f"{ours}.b": bias}

    norm = {f"layer.attention_norm.{n}": file[f"weights/norm.{p}"] for n, p in NORM}
    return {
        "words.W": file["weights/tok.weight"],
        "positions.W": file["weights/pos.weight"],
        **heads(),
        **linear("proj", "layer.attention.out"),
        **linear("fc1", "layer.feed_forward.first"),
        **linear("fc2", "layer.feed_forward.second"),
        **norm,
        **linear("out", "out"),
    }


PARTS = ("weight", "bias")
NORM = (("W", "weight"), ("b", "bias"))


@pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not there")
@pytest.mark.parametrize("chunk", [None, 16])
def test_every_deliverable_is_the_courses(chunk: int | None, device: str) -> None:
    with np.load(FILE) as file:
        model = ClassificationTransformer(1542)
        parameters = dict(model.named_parameters())
        given = weights_of(file)
        assert set(given) == set(parameters)
        model.load_state_dict(given)
        model.layer.attention.chunk = chunk
        model.to(device)
        with mg.no_grad():
            embedded = model.embed(file["inputs"])
            attended = model.attend(embedded)
            thought = model.feed_forward(attended)
            probability = mg.sigmoid(model.decide(thought, file["inputs"] >= 0))
            whole = mg.sigmoid(model(file["inputs"]))
        found = {
            "after_embedding": embedded,
            "after_attention": attended,
            "after_feedforward": thought,
            "probability": probability[:, None],
        }
        for name, ours in found.items():
            theirs = file[f"expected/{name}"]
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5)
        np.testing.assert_allclose(whole.numpy(), probability.numpy(), atol=1e-6)


def test_the_layer_in_one_piece_is_its_parts() -> None:
    model = ClassificationTransformer(10, max_length=4, hidden_dim=8)
    x = model.embed(np.array([[1, 2, 3], [4, 5, 0]]))
    parts = model.feed_forward(model.attend(x))
    np.testing.assert_allclose(model.layer(x).numpy(), parts.numpy(), atol=1e-6)


def own(**settings: int) -> SentenceTransformer:
    made = {"max_length": 12, "embed_dim": 8, "num_heads": 2, "hidden_dim": 8}
    model = SentenceTransformer(20, generator=mg.Generator(0), **{**made, **settings})
    model.eval()
    return model


@given(ids=st.lists(st.integers(2, 19), min_size=1, max_size=8), more=st.integers(1, 4))
def test_padding_never_changes_the_verdict(ids: list[int], more: int) -> None:
    model = own()
    short = np.array([ids])
    long = np.array([[*ids, *[0] * more], [*ids, *range(2, 2 + more)]])
    alone, among = model(short).numpy(), model(long).numpy()
    np.testing.assert_allclose(among[0], alone[0], atol=1e-5)


def test_words_look_at_words_only() -> None:
    model = own(layers=3)
    ids = np.array([[2, 5, 7, 0], [2, 3, 4, 5]])
    layers = model.attention(ids)
    assert [weights.shape for weights in layers] == [(2, 2, 4, 4)] * 3
    for weights in layers:
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
        np.testing.assert_array_equal(weights[0, :, :, 3], 0)


def test_the_shown_attention_is_the_one_that_judges() -> None:
    """What a layer gives is what its weights mix."""
    model = own(layers=1)
    ids = np.array([[2, 5, 7, 0]])
    layer = model.layers[0]
    seen = layer.attention_norm(model.embed(ids))
    packed = seen @ layer.attention.Wqkv + layer.attention.bqkv
    values = packed.numpy()[0, :, 16:].reshape(4, 2, 4).swapaxes(0, 1)
    mixed = (model.attention(ids)[0][0] @ values).swapaxes(0, 1).reshape(4, 8)
    out = layer.attention.out(mg.Tensor(mixed)).numpy()
    expected = layer.attention(seen, mask=model.mask(ids)).numpy()[0]
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_words_are_forgotten_in_training_only() -> None:
    model = own()
    model.word_dropout = 0.9
    model.dropout.p = 0.0
    ids = np.full((4, 9), 7)
    np.testing.assert_array_equal(
        model.embed(ids).numpy()[0], model.embed(ids).numpy()[1]
    )
    model.train()
    embedded = model.embed(ids).numpy() - model.positions.W.numpy()[:9]
    tables = model.words.W.numpy()
    kept = np.isclose(embedded, tables[7], atol=1e-5).all(axis=-1)
    gone = np.isclose(embedded, tables[1], atol=1e-5).all(axis=-1)
    assert (kept ^ gone).all()
    assert kept.any()
    assert gone.sum() > kept.sum()
