"""Does the caption that is said agree best with all that could have been said?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.captioning import consensus
from apps.captioning.metrics import unigram_bleu

CAPTIONS = st.lists(
    st.lists(st.sampled_from(["a", "dog", "cat", "runs", "on", "grass"]), max_size=6),
    min_size=1,
    max_size=6,
)


@given(CAPTIONS, CAPTIONS)
def test_agreement_is_the_bleu_of_every_pair(
    captions: list[list[str]], references: list[list[str]]
) -> None:
    found = consensus.agreement(captions, references)
    expected = [[unigram_bleu(r, c) for r in references] for c in captions]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(CAPTIONS, CAPTIONS)
def test_no_caption_agrees_better_than_the_chosen(
    captions: list[list[str]], references: list[list[str]]
) -> None:
    chosen = captions[consensus.most_agreed(captions, references)]

    def score(own: list[str]) -> float:
        return sum(unigram_bleu(other, own) for other in references)

    assert score(chosen) >= max(map(score, captions)) - 1e-9


def test_what_most_say_is_said() -> None:
    said = ["a cat", "a dog runs", "a dog", "a dog runs fast", "grass"]
    words = [s.split() for s in said]
    assert said[consensus.most_agreed(words, words)] == "a dog runs"


def test_of_equals_the_first() -> None:
    assert consensus.most_agreed([["a"], ["b"]], [["b"], ["a"]]) == 0
    assert consensus.most_agreed([[], []], [["a"]]) == 0


def test_of_nothing_nothing_can_be_chosen() -> None:
    for captions, references in (([], [["a"]]), ([["a"]], [])):
        with pytest.raises(ValueError, match="at least one of each"):
            consensus.most_agreed(captions, references)
