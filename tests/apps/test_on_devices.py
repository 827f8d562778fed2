"""Do the apps give the same on every device: losses, captions, verdicts, scores?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from apps.captioning import evaluate, sample
from apps.captioning.train import Settings, Trained, build
from apps.cola import explain
from apps.cola import train as cola
from apps.cola.settings import RECIPES

TOLERANCE = 1e-5  # of float32 sums, which a device may take in another order


def trained(folder: Path, cell: str, device: str) -> tuple[Trained, list[float]]:
    """A captioner after a few steps, dropout and clipping included, and its losses."""
    mg.manual_seed(0)
    sizes = {"wordvec_dim": 8, "hidden_dim": 16, "batch": 10, "epochs": 1}
    settings = Settings(str(folder), cell=cell, lr=0.005, dropout=0.2, **sizes)
    made, job = build(settings, device)
    batches = [*job.batches(0)][:6]
    return made, [job.update(batch)[0] for batch in batches]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_steps_captions_and_scores_are_the_cpus(
    drawn: Path, cell: str, device: str
) -> None:
    expected, expected_losses = trained(drawn, cell, "cpu")
    made, losses = trained(drawn, cell, device)
    assert made.model.score.W.device == device
    assert len({*losses}) == len(losses)
    np.testing.assert_allclose(losses, expected_losses, rtol=TOLERANCE)
    made.model.load_state_dict(expected.model.state_dict())
    pictures = np.arange(len(made.data.val.features))
    captions = sample.describe(made, made.data.val, pictures)
    assert captions == sample.describe(expected, expected.data.val, pictures)
    scores = evaluate.evaluate(made, made.data.val)
    assert scores == evaluate.evaluate(expected, expected.data.val)


@pytest.mark.parametrize("recipe", ["grammar", "course", "cola"])
def test_verdicts_and_their_reasons_are_the_cpus(recipe: str, device: str) -> None:
    sizes = {"embed_dim": 8, "num_heads": 2, "hidden_dim": 8, "batch": 10}
    given = {**RECIPES[recipe], **sizes, "max_train": 60}
    (expected, job), (made, other) = (
        cola.build(cola.Settings(**given), where) for where in ("cpu", device)
    )
    losses = [job.update(batch)[0] for batch in job.batches(0)]
    found = [other.update(batch)[0] for batch in other.batches(0)]
    np.testing.assert_allclose(found, losses, rtol=TOLERANCE)
    made.model.load_state_dict(expected.model.state_dict())
    text = expected.corpus.train[0].text
    ours, theirs = explain.judge(made, text), explain.judge(expected, text)
    assert ours.probability == pytest.approx(theirs.probability, rel=TOLERANCE)
    np.testing.assert_allclose(
        ours.attribution, theirs.attribution, rtol=1e-4, atol=1e-6
    )
    for own, other_one in zip(ours.attention, theirs.attention, strict=True):
        np.testing.assert_allclose(own, other_one, atol=TOLERANCE)
