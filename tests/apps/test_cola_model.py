"""Does the course's Transformer give the course's own tensors?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from apps.cola.model import ClassificationTransformer

FILE = Path(__file__).resolve().parents[3] / (
    "shared/data/cola_7643/reference_transformer.npz"
)


def weights_of(file: np.lib.npyio.NpzFile) -> dict[str, np.ndarray]:
    """The file's weights, (out, in) and one head at a time, under our names."""

    def heads(kind: str) -> dict[str, np.ndarray]:
        both = [[file[f"weights/{kind}{h}.{part}"] for h in (1, 2)] for part in PARTS]
        weight, bias = map(np.concatenate, both)
        place = f"layer.attention.{PROJECTIONS[kind]}"
        return {f"{place}.W": weight.T, f"{place}.b": bias}

    def linear(theirs: str, ours: str) -> dict[str, np.ndarray]:
        weight, bias = (file[f"weights/{theirs}.{part}"] for part in PARTS)
        return {f"{ours}.W": weight.T, f"{ours}.b": bias}

    norm = {f"layer.attention_norm.{n}": file[f"weights/norm.{p}"] for n, p in NORM}
    return {
        "words.W": file["weights/tok.weight"],
        "positions.W": file["weights/pos.weight"],
        **heads("q"),
        **heads("k"),
        **heads("v"),
        **linear("proj", "layer.attention.out"),
        **linear("fc1", "layer.feed_forward.first"),
        **linear("fc2", "layer.feed_forward.second"),
        **norm,
        **linear("out", "out"),
    }


PARTS = ("weight", "bias")
PROJECTIONS = {"q": "query", "k": "key", "v": "value"}
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
            probability = mg.sigmoid(model.judge(thought))
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
        np.testing.assert_array_equal(whole.numpy(), probability.numpy())


def test_the_layer_in_one_piece_is_its_parts() -> None:
    model = ClassificationTransformer(10, max_length=4, hidden_dim=8)
    x = model.embed(np.array([[1, 2, 3], [4, 5, 0]]))
    parts = model.feed_forward(model.attend(x))
    np.testing.assert_allclose(model.layer(x).numpy(), parts.numpy(), atol=1e-6)
