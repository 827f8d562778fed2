"""Do the judges without understanding learn what there is for them to learn?"""

from __future__ import annotations

import numpy as np
import pytest

from apps.cola.evaluate import BagOfWords, baselines
from apps.cola.sentences import Corpus, Sentence

TELLING = (
    Sentence("the good boy", 1, "a"),
    Sentence("good girl", 1, "a"),
    Sentence("the bad boy", 0, "a"),
    Sentence("bad girl", 0, "a"),
)


def test_always_acceptable() -> None:
    judge = baselines(Corpus("x", TELLING, TELLING))["always acceptable"]
    found = judge(["a", ""])
    np.testing.assert_array_equal(found, [1, 1])


def test_a_telling_word_is_found() -> None:
    judge = BagOfWords.fit(TELLING)
    found = judge.probabilities(["good", "bad", "girl", "the boy", "never seen", ""])
    assert found[0] > 0.9
    assert found[1] < 0.1
    assert found[2:] == pytest.approx([0.5] * 4, abs=0.05)


def test_without_a_telling_word_the_share_is_given() -> None:
    same = [Sentence("the boy", int(n < 7), "a") for n in range(10)]
    found = BagOfWords.fit(same).probabilities(["the boy"])
    assert found == pytest.approx([0.7], abs=0.01)


def test_order_does_not_count() -> None:
    judge = BagOfWords.fit(TELLING)
    first, second = judge.probabilities(["the good boy", "boy good the"])
    assert first == second


def test_the_optimum_is_reached() -> None:
    """There the gradient vanishes; worked out here from dense bags."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(list("abcdef"), 4)) for _ in range(200)]
    labels = (generator.random(200) < 0.6).astype(int)
    judge = BagOfWords.fit(
        [Sentence(t, int(y), "a") for t, y in zip(texts, labels, strict=True)]
    )
    ids = judge.ids
    bags = np.zeros((200, len(ids)))
    bags[:, ids["<CLS>"]] = 1
    for bag, text in zip(bags, texts, strict=True):
        for word in text.split():
            bag[ids[word]] += 1
    error = judge.probabilities(texts) - labels
    gradient = bags.T @ error / 200 + 1e-4 * judge.weights
    np.testing.assert_allclose(gradient, 0, atol=2e-3)


def test_the_same_sentences_give_the_same_weights() -> None:
    first, second = BagOfWords.fit(TELLING), BagOfWords.fit(TELLING)
    np.testing.assert_array_equal(first.weights, second.weights)


def test_both_by_name() -> None:
    found = baselines(Corpus("x", TELLING, TELLING))
    assert list(found) == ["always acceptable", "bag of words"]
    assert found["bag of words"](["good"]) > 0.9
