"""Do the BLEU scores give what can be worked out by hand?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.captioning import metrics
from apps.captioning.metrics import corpus_bleu, mean_bleu, unigram_bleu


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ("a red circle", "a red circle", 1.0),
        ("a red circle", "circle red a", 1.0),  # order does not count
        ("the cat is on the mat", "the the the the the the the", 2 / 7),  # clipped
        ("a b c d", "a b", math.exp(-1)),  # brevity: exp(1 - 4/2)
        ("a b", "a b c d", 0.5),  # no prize for length
        ("a b c d", "a x", math.exp(-1) / 2),
        ("a b", "x y", 0.0),
        ("a b", "", 0.0),
        ("", "a", 0.0),
    ],
)
def test_by_hand(reference: str, candidate: str, expected: float) -> None:
    assert unigram_bleu(reference.split(), candidate.split()) == pytest.approx(expected)


def test_mean_is_over_pairs() -> None:
    assert mean_bleu([["a"], ["b"]], [["a"], ["a"]]) == 0.5


def test_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs at least one"):
        mean_bleu([], [])


def split(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


def test_corpus_bleu_by_hand() -> None:
    """Papineni's cat: counts of the whole corpus, clipped by the best reference."""
    references = [
        split("the cat is on the mat", "there is a cat on the mat"),
        split("a dog runs"),
    ]
    candidates = split("the the cat on the mat", "a dog runs")
    # the 2 of 3, cat, on, mat, and 3 words of the dog; pairs: the cat, cat on, on the,
    # the mat, and 2; threes: cat on the, on the mat, and 1; fours: cat on the mat.
    precisions = [8 / 9, 6 / 7, 3 / 5, 1 / 3]
    expected = [math.prod(precisions[:n]) ** (1 / n) for n in range(1, 5)]
    assert corpus_bleu(references, candidates) == pytest.approx(expected)


def test_corpus_bleu_penalises_brevity_against_the_closest_reference() -> None:
    references = [split("a b c d e f g h", "a b c d e"), split("x y z")]
    scores = corpus_bleu(references, split("a b c d", "x y z"))
    assert scores == pytest.approx([math.exp(1 - 8 / 7)] * 4)


def test_corpus_bleu_of_exact_captions_and_of_wrong_ones() -> None:
    references = [split("a b c d", "e f"), split("g h i j")]
    assert corpus_bleu(references, split("a b c d", "g h i j")) == pytest.approx(
        [1] * 4
    )
    assert corpus_bleu(references, split("x", "y")) == (0, 0, 0, 0)
    assert corpus_bleu(references, [[], []]) == (0, 0, 0, 0)


def test_corpus_bleu_takes_words_as_they_are() -> None:
    """Nothing is split, lowered or joined: the vocabulary says what a word is."""
    assert corpus_bleu([split("A b.")], split("a b ."))[0] == 0


def test_corpus_bleu_is_not_smoothed() -> None:
    scores = corpus_bleu([split("a b c d e")], split("a c b e d"))
    assert scores == pytest.approx((1, 0, 0, 0))


def test_corpus_bleu_keeps_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Texts with a space before the full stop make sacreBLEU suspicious."""
    texts = split(*["a red circle ."] * 200)
    assert corpus_bleu([[text] for text in texts], texts) == pytest.approx([1] * 4)
    assert not caplog.records


@pytest.mark.parametrize(
    ("references", "candidates"),
    [([], []), ([[]], [["a"]]), ([[["a"]]], [["a"], ["b"]])],
)
def test_corpus_bleu_needs_captions_and_references(
    references: list[list[list[str]]], candidates: list[list[str]]
) -> None:
    with pytest.raises(ValueError, match="at least one reference for each"):
        corpus_bleu(references, candidates)


# -- minimum Bayes risk --------------------------------------------------------------

CAPTIONS = st.lists(
    st.lists(st.sampled_from(["a", "dog", "cat", "runs", "on", "grass"]), max_size=6),
    min_size=1,
    max_size=6,
)


@given(CAPTIONS, CAPTIONS)
def test_agreement_is_the_bleu_of_every_pair(
    captions: list[list[str]], references: list[list[str]]
) -> None:
    found = metrics.agreement(captions, references)
    expected = [[unigram_bleu(r, c) for r in references] for c in captions]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(CAPTIONS, CAPTIONS)
def test_no_caption_agrees_better_than_the_chosen(
    captions: list[list[str]], references: list[list[str]]
) -> None:
    chosen = captions[metrics.most_agreed(captions, references)]

    def score(own: list[str]) -> float:
        return sum(unigram_bleu(other, own) for other in references)

    assert score(chosen) >= max(map(score, captions)) - 1e-9


def test_what_most_say_is_said() -> None:
    said = ["a cat", "a dog runs", "a dog", "a dog runs fast", "grass"]
    words = [s.split() for s in said]
    assert said[metrics.most_agreed(words, words)] == "a dog runs"


def test_of_equals_the_first() -> None:
    assert metrics.most_agreed([["a"], ["b"]], [["b"], ["a"]]) == 0
    assert metrics.most_agreed([[], []], [["a"]]) == 0


def test_of_nothing_nothing_can_be_chosen() -> None:
    for captions, references in (([], [["a"]]), ([["a"]], [])):
        with pytest.raises(ValueError, match="at least one of each"):
            metrics.most_agreed(captions, references)
