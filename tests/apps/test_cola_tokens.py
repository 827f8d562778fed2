"""Is a sentence split and numbered in one way only, with nothing lost unsaid?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cola.tokens import CLS, MASK, PAD, SPECIAL, UNKNOWN, Vocabulary, padded, words

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


def test_a_vocabulary_numbers_words_as_first_seen() -> None:
    vocabulary = Vocabulary.of(SENTENCES)
    assert vocabulary.tokens == (*SPECIAL, "the", "boy", "slept", "girl")
    assert vocabulary.tokens[:4] == (PAD, UNKNOWN, CLS, MASK)
    assert Vocabulary.of(SENTENCES, min_count=2).tokens == (*SPECIAL, "the", "boy")
    assert len(vocabulary) == 8


def test_encoding_says_what_is_lost() -> None:
    vocabulary = Vocabulary.of(SENTENCES)
    assert vocabulary.encode(["the", "queen", "slept"]) == ([2, 4, 1, 6], 0, 1)
    assert vocabulary.encode(["the", "queen", "slept"], 3) == ([2, 4, 1], 1, 1)
    assert vocabulary.encode(["the", "queen", "slept"], 2) == ([2, 4], 2, 0)
    assert vocabulary.encode([], 1) == ([2], 0, 0)
    with pytest.raises(ValueError, match="give at least 1"):
        vocabulary.encode(["the"], 0)


@given(st.lists(ANY), ANY, st.integers(1, 9))
def test_encoding_of_any_text(known: list[str], text: str, length: int) -> None:
    vocabulary = Vocabulary.of(map(words, known))
    tokens = words(text)
    whole, cut = vocabulary.encode(tokens), vocabulary.encode(tokens, length)
    assert cut.ids == whole.ids[:length]
    assert cut.cut == max(0, len(tokens) + 1 - length)
    assert whole.unknown == sum(token not in vocabulary.ids for token in tokens)
    said = [vocabulary.tokens[number] for number in whole.ids[1:]]
    same = [t if t in vocabulary.ids else UNKNOWN for t in tokens]
    assert said == same


@pytest.mark.parametrize("tokens", [["the"], [*SPECIAL, "a", "a"], [*SPECIAL, PAD]])
def test_a_vocabulary_has_every_token_once(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="must begin with <PAD>"):
        Vocabulary(tokens)


@given(st.lists(st.lists(st.integers(1, 9))))
def test_padding(rows: list[list[int]]) -> None:
    ids = padded(rows)
    assert ids.shape == (len(rows), max(map(len, rows), default=0))
    assert ids.dtype == np.int64
    assert [[i for i in line if i] for line in ids.tolist()] == rows
    ends = np.array([len(row) for row in rows], int)[:, None]
    assert (ids[np.arange(ids.shape[1]) >= ends] == 0).all()
