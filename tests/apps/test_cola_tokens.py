"""Is a sentence split and numbered in one way only, with nothing lost unsaid?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cola.reading import (
    CLS,
    MASK,
    PAD,
    SPECIAL,
    UNKNOWN,
    Reader,
    numbered,
    padded,
    words,
)
from apps.cola.sentences import Sentence

# Letters, apostrophes, marks and spaces of which contractions and the like are made.
NEAR_ENGLISH = st.text("nNtTsSdlve'’-.,!? \t<>_\u0301\u2028İς")
ANY = st.one_of(st.text(), NEAR_ENGLISH)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The boy slept.", "the boy slept ."),
        ("I don't think so!", "i do n't think so !"),
        ("We can’t, won't.", "we ca n't , wo n't ."),
        ("She'll say it's John's.", "she 'll say it 's john 's ."),
        ("I'd I'm we've they're", "i 'd i 'm we 've they 're"),
        ("the boys' 'quoted' o'clock", "the boys ' ' quoted ' o ' clock"),
        ('"self-made" (1990)', '" self - made " ( 1990 )'),
        ("n't 's aren'ts", "n't 's aren ' ts"),
        ("", ""),
        (" \t\n", ""),
    ],
)
def test_by_hand(text: str, expected: str) -> None:
    assert words(text) == expected.split()


def test_capitals_can_be_kept() -> None:
    assert words("DON'T say Anna.", fold=False) == ["DO", "N'T", "say", "Anna", "."]


@given(ANY, st.booleans())
def test_nothing_but_white_space_is_lost(text: str, fold: bool) -> None:
    kept = text.lower() if fold else text
    assert "".join(words(text, fold)) == "".join(kept.split()).replace("’", "'")


@given(ANY, st.booleans())
def test_tokens_are_split_no_further(text: str, fold: bool) -> None:
    found = words(text, fold)
    assert words(" ".join(found), fold) == found
    assert all(token and not any(map(str.isspace, token)) for token in found)


@given(ANY)
def test_no_sentence_has_a_special_token(text: str) -> None:
    assert not set(words(text, fold=False)) & set(SPECIAL)


SENTENCES = [["the", "boy", "slept"], ["the", "girl"], ["boy", "the"]]


def test_words_are_numbered_as_first_seen() -> None:
    ids = numbered(SENTENCES)
    assert list(ids) == [*SPECIAL, "the", "boy", "slept", "girl"]
    assert list(ids)[:4] == [PAD, UNKNOWN, CLS, MASK]
    assert list(ids.values()) == list(range(8))
    assert list(numbered(SENTENCES, min_count=2)) == [*SPECIAL, "the", "boy"]


def reader(known: list[str], length: int = 99) -> Reader:
    return Reader.of([Sentence(text, 1, "a") for text in known], 1, length)


def test_reading_says_what_is_lost() -> None:
    known = [" ".join(words) for words in SENTENCES]
    text = "the queen slept"
    marked = ["<CLS>", "the", "queen", "slept"]
    assert reader(known).read(text) == ([2, 4, 1, 6], marked, 3, 0, 1)
    assert reader(known, 3).read(text) == ([2, 4, 1], marked[:3], 2, 1, 1)
    assert reader(known, 2).read(text) == ([2, 4], marked[:2], 1, 2, 0)


@given(st.lists(ANY), ANY.filter(words), st.integers(2, 9))
def test_reading_of_any_text(known: list[str], text: str, length: int) -> None:
    ids = reader(known).ids
    tokens = words(text)
    whole, cut = reader(known, len(tokens) + 1).read(text), reader(known, length)
    assert cut.read(text).ids == whole.ids[:length]
    assert cut.read(text).cut == max(0, len(tokens) + 1 - length)
    assert whole.unknown == sum(token not in ids for token in tokens)
    said = [list(ids)[number] for number in whole.ids[1:]]
    same = [t if t in ids else UNKNOWN for t in tokens]
    assert said == same


@given(st.lists(st.lists(st.integers(1, 9)), min_size=1), st.integers(0, 5))
def test_padding(rows: list[list[int]], width: int) -> None:
    ids = padded(rows, 0, width)
    assert ids.shape == (len(rows), max(width, *map(len, rows), 0))
    assert ids.dtype == np.int64
    assert [[i for i in line if i] for line in ids.tolist()] == rows
    ends = np.array([len(row) for row in rows], int)[:, None]
    assert (ids[np.arange(ids.shape[1]) >= ends] == 0).all()
