"""Can the captioner learn a few captions by heart? The courses' first sanity check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import nn
from apps.captioning import data
from apps.captioning.decode import Decoding
from apps.captioning.model import Captioner
from apps.job import minibatches

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"


def learn_by_heart(
    folder: Path,
    cell: str,
    *,
    count: int,
    sizes: tuple[int, int],
    batch: int,
    epochs: int,
    decay: float,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Learn the first caption of the first pictures, with the courses' Adam at 5e-3.

    Returns: the mean loss afterwards, the captions' ids, and the ids said instead.
    """
    loaded = data.load_data(folder)
    split, pictures = loaded.train, np.arange(count)
    captions = np.stack([split.references(picture)[0] for picture in pictures])
    features = data.Standard.of(split)(split.read_features(pictures))
    generator = mg.Generator(0)
    shape = (split.input_dim, *sizes)
    model = Captioner(loaded.vocabulary, *shape, cell, generator=generator)
    optimizer = nn.Adam(model.parameters(), lr=5e-3)
    schedule = nn.ExponentialDecay(optimizer, decay)
    for epoch in range(epochs):
        for chosen in minibatches(count, batch, 0, epoch):
            optimizer.zero_grad()
            model.loss(features[chosen], captions[chosen]).backward()
            optimizer.step()
        schedule.step()
    words = captions[:, 1:]
    anything = Decoding(allow_unknown=True)
    said = model.sample(features, words.shape[1], anything)
    return model.loss(features, captions).item(), words, said


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_ten_drawn_scenes(drawn: Path, cell: str) -> None:
    loss, captions, said = learn_by_heart(
        drawn, cell, count=10, sizes=(32, 128), batch=5, epochs=60, decay=0.99
    )
    assert loss < 0.1
    np.testing.assert_array_equal(said, captions)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos, not in the clone")
@pytest.mark.parametrize(
    ("cell", "decay", "bound"), [("rnn", 0.95, 0.1), ("lstm", 0.995, 0.5)]
)
def test_fifty_photos(cell: str, decay: float, bound: float) -> None:
    """The reference's settings and bounds; the loss starts near 77."""
    loss, captions, said = learn_by_heart(
        PHOTOS, cell, count=50, sizes=(256, 512), batch=25, epochs=50, decay=decay
    )
    assert loss < bound
    np.testing.assert_array_equal(said, captions)
