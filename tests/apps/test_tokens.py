"""Do letters say what the words said?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.captioning import data, layout, tokens
from minigrad.io import limits

WORDS = st.lists(
    st.text("abc<>'é漢", min_size=1, max_size=5).filter(
        lambda word: word not in layout.SPECIAL_WORDS
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


def opened(words: list[str], captions: np.ndarray) -> data.CaptionData:
    vocabulary = {word: i for i, word in enumerate([*layout.SPECIAL_WORDS, *words])}
    split = data.Split("train", None, captions, np.zeros(len(captions), int), ())
    return data.CaptionData(Path(), vocabulary, split, replace(split, name="val"))


@given(WORDS, st.data())
def test_spelled_captions_say_the_same_words(words: list[str], draw: st.DataObject):
    count = len(words) + 4
    ids = st.lists(st.integers(3, count - 1), min_size=0, max_size=5)
    rows = [[1, *row, 2] for row in draw.draw(st.lists(ids, min_size=1, max_size=4))]
    captions = np.zeros((len(rows), 7), np.int32)
    for place, row in zip(captions, rows, strict=True):
        place[: len(row)] = row
    of_words = opened(words, captions[:, : draw.draw(st.integers(3, 7))])
    of_letters = tokens.spell(of_words)
    for unknown in (False, True):
        for split in ("train", "val"):
            expected = of_words.words(getattr(of_words, split).captions, unknown)
            said = of_letters.words(getattr(of_letters, split).captions, unknown)
            assert said == expected


def test_one_caption_letter_by_letter() -> None:
    # a dog <UNK>; and one that was cut off before its end
    captions = np.array([[1, 4, 5, 3, 2, 0], [1, 5, 4, 5, 5, 5]], np.int32)
    spelled = tokens.spell(opened(["a", "dog"], captions))
    names = list(spelled.vocabulary)
    assert names == [*layout.SPECIAL_WORDS, " ", "a", "d", "g", "o"]
    first, second = ([names[i] for i in row] for row in spelled.train.captions)
    assert first[:9] == ["<START>", *"a dog ", "<UNK>", "<END>"]
    assert set(first[9:]) == {"<NULL>"}
    assert second == ["<START>", *"dog a dog dog dog"]
    assert spelled.train.captions.dtype == np.uint8


def test_captions_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE", 999)
    monkeypatch.setattr(limits, "free_memory", lambda: 1_000)
    captions = np.full((10, 3), [1, 4, 2], np.int32)
    tokens.spell(opened(["w" * 40], captions))
    with pytest.raises(
        layout.DataError, match=r"'train', padded to 55 letters a caption"
    ):
        tokens.spell(opened(["w" * 50], captions))
