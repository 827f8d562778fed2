"""Is every picture's caption compared with its own true captions?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from apps.captioning import data, evaluate


def speaker(loaded: data.CaptionData, captions: list[list[str]]) -> Any:
    """Stand in for a trained captioner: it says these captions."""
    return SimpleNamespace(data=loaded, describe=lambda split, pictures: captions)


def test_saying_true_captions_is_exact(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    pictures = range(len(loaded.val.features))
    true = [loaded.words(loaded.val.references(p))[2] for p in pictures]
    scores = evaluate.evaluate(speaker(loaded, true), loaded.val)
    assert scores.exact == 1
    assert scores.bleu > scores.baseline
    shuffled = speaker(loaded, [*true[6:], *true[:6]])
    worse = evaluate.evaluate(shuffled, loaded.val)
    assert worse.exact < 0.5
    assert worse.bleu < scores.bleu


def test_baseline_is_the_commonest_caption_said_every_time(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    common = evaluate.commonest_caption(loaded)
    captions = loaded.words(loaded.train.captions)
    assert captions.count(common) == max(map(captions.count, captions))
    every_time = speaker(loaded, [common] * len(loaded.val.features))
    scores = evaluate.evaluate(every_time, loaded.val)
    assert scores.bleu == pytest.approx(scores.baseline)
    assert np.isfinite(scores.bleu)
