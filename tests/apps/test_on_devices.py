"""Does captioning give the same on every device: losses, captions, scores?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from apps.captioning import evaluate, sample
from apps.captioning.train import Settings, Trained, build

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
