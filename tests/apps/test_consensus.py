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


@given(CAPTIONS)
def test_agreement_is_the_bleu_of_every_pair(captions: list[list[str]]) -> None:
    found = consensus.agreement(captions)
    expected = [[unigram_bleu(b, a) for b in captions] for a in captions]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(CAPTIONS)
def test_no_caption_agrees_better_than_the_chosen(captions: list[list[str]]) -> None:
    chosen = captions[consensus.most_agreed(captions)]

    def score(own: list[str]) -> float:
        return sum(unigram_bleu(other, own) for other in captions)

    assert score(chosen) >= max(map(score, captions)) - 1e-9


def test_what_most_say_is_said() -> None:
    said = ["a cat", "a dog runs", "a dog", "a dog runs fast", "grass"]
    assert said[consensus.most_agreed([s.split() for s in said])] == "a dog runs"


def test_of_equals_the_first() -> None:
    assert consensus.most_agreed([["a"], ["b"], ["c"]]) == 0
    assert consensus.most_agreed([[], []]) == 0


def test_of_nothing_nothing_can_be_chosen() -> None:
    with pytest.raises(ValueError, match="draw at least one"):
        consensus.most_agreed([])
