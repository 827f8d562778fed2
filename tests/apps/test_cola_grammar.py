"""Is every pair what it claims, and validation made of what training never shows?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cola import grammar, lexicon
from apps.cola.evaluate import BagOfWords
from apps.cola.lexicon import Pair
from apps.cola.reading import words
from apps.cola.sentences import Corpus, DataError, Sentence
from tests.apps import english


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return grammar.corpus()


def all_sentences(corpus: Corpus) -> tuple[Sentence, ...]:
    return corpus.train + corpus.validation


def pairs(sentences: tuple[Sentence, ...]) -> list[tuple[Sentence, Sentence]]:
    return list(zip(sentences[::2], sentences[1::2], strict=True))


def lemmas(text: str) -> tuple[set[str], set[str]]:
    """The nouns and the verbs of a sentence, each by its first form."""
    said = set(words(text))
    nouns = {
        noun.singular
        for noun in lexicon.NOUNS
        if said & {noun.singular.lower(), noun.plural}
    }
    verbs = {
        verb.base for verb in lexicon.VERBS if said & {verb.base, verb.third, verb.past}
    }
    states = {*lexicon.PERSON_STATES, *lexicon.THING_STATES} & said
    return nouns, verbs | states


def combinations(text: str) -> set[tuple[str, str]]:
    nouns, verbs = lemmas(text)
    return {(noun, verb) for noun in nouns for verb in verbs}


def test_sizes(corpus: Corpus) -> None:
    assert len(corpus.train) == grammar.TRAIN_SENTENCES
    assert len(corpus.validation) == grammar.VALIDATION_SENTENCES
    for split in corpus.splits.values():
        counts = Counter((s.source, s.label) for s in split)
        assert len(counts) == 2 * len(grammar.PHENOMENA)
        for name in grammar.PHENOMENA:
            assert counts[name, 0] == counts[name, 1] >= 100
    assert sum(grammar.SHARES.values()) == 100


@pytest.mark.parametrize("sizes", [(39, 20), (40, 19), (0, 0)])
def test_too_few_sentences(sizes: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="at least 40 and 20"):
        grammar.corpus(0, *sizes)
    assert grammar.corpus(0, 40, 20).train


def test_more_sentences_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MISSES", 50)
    monkeypatch.setitem(grammar.PHENOMENA, "order", lambda _: (Pair("A b.", "B a."),))
    with pytest.raises(DataError, match=r"does not have .* of 'order'\. Ask for fewer"):
        grammar.corpus(0, 200, 40)


@given(st.integers(40, 500), st.integers(20, 100))
def test_any_size_is_rounded_down(train: int, validation: int) -> None:
    made = grammar.corpus(0, train, validation)
    assert train - 20 <= len(made.train) <= train
    assert validation - 20 < len(made.validation) <= validation


def test_the_seed_decides() -> None:
    small = [grammar.corpus(seed, 200, 40) for seed in (1, 1, 2)]
    assert small[0] == small[1]
    assert small[0].train != small[2].train


def test_an_independent_parser_agrees_with_every_label(corpus: Corpus) -> None:
    wrong = [s for s in all_sentences(corpus) if english.judge(s.text) != bool(s.label)]
    assert not wrong


@given(st.integers(0, 2**32))
def test_an_independent_parser_agrees_whatever_the_seed(seed: int) -> None:
    for sentence in all_sentences(grammar.corpus(seed, 200, 20)):
        assert english.judge(sentence.text) == bool(sentence.label), sentence


@pytest.mark.parametrize(
    "text",
    [
        "The boy the girl admired slept.",
        "The boys who the girl near my uncle praised are tired in the garden.",
        "Who thanked Mary?",
        "John and the girl remembered what the boy thought that Anna repaired.",
        "My teacher who praised herself thanked himself.",
    ],
)
def test_the_parser_allows_more_than_is_made(text: str) -> None:
    assert english.judge(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the boy slept.",
        "The boy slept",
        "The boy slept?",
        "The boy.",
        "The boy who the girl admired.",
        "The boy who the girl admired Mary slept.",
        "The boy near the girls sleep.",
        "The king and the queen praised himself.",
        "John thought that himself slept.",
        "John thought Mary slept.",
        "What the boy repaired?",
        "What did the boy sleep?",
        "Did the boy hand Mary?",
        "The boy did sleep.",
        "The boy was slept.",
    ],
)
def test_the_parser_refuses(text: str) -> None:
    assert not english.judge(text)


def test_no_sentence_stands_twice(corpus: Corpus) -> None:
    texts = [sentence.text for sentence in all_sentences(corpus)]
    assert len(set(texts)) == len(texts)


def test_a_pair_differs_little(corpus: Corpus) -> None:
    """In the order of its words, in one word, or in one object that is too many."""
    for good, bad in pairs(all_sentences(corpus)):
        assert (good.label, bad.label) == (1, 0)
        assert good.source == bad.source
        first, second = Counter(words(good.text)), Counter(words(bad.text))
        more, less = (second - first).total(), (first - second).total()
        assert min(more, less) <= 1, (good, bad)
        if good.source == "order":
            assert more == less == 0


def test_every_word_is_as_often_acceptable_as_not(corpus: Corpus) -> None:
    """So that neither a word nor the length of a sentence tells the label."""
    for name in grammar.PHENOMENA:
        for split in corpus.splits.values():
            own = [s for s in split if s.source == name]
            good, bad = (
                Counter(w for s in own if s.label == label for w in words(s.text))
                for label in (1, 0)
            )
            assert good == bad


def test_no_combination_of_validation_is_in_training_alone(corpus: Corpus) -> None:
    """Every validation sentence has a noun and a verb that training keeps apart."""
    known = set().union(*(combinations(s.text) for s in corpus.train))
    for sentence in corpus.validation:
        assert combinations(sentence.text) - known, sentence


def test_what_is_held_out_never_stands_in_training(corpus: Corpus) -> None:
    assert not any(grammar.is_held_out(s.text) for s in corpus.train)
    assert all(grammar.is_held_out(s.text) for s in corpus.validation)


def test_every_word_of_validation_is_in_training(corpus: Corpus) -> None:
    train, validation = (
        {word for s in split for word in words(s.text, fold=False)}
        for split in corpus.splits.values()
    )
    assert validation <= train


def test_every_word_of_the_lexicon_is_used(corpus: Corpus) -> None:
    said = {word for s in corpus.train for word in words(s.text)}
    nouns = {n.singular.lower() for n in lexicon.NOUNS}
    plurals = {n.plural for n in lexicon.NOUNS if n.plural}
    verbs = {form for v in lexicon.VERBS for form in (v.base, v.past)}
    assert nouns | plurals | verbs <= said


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bag_of_words_does_not_solve_it(seed: int) -> None:
    corpus = grammar.corpus(seed, 2_000, 500)
    judge = BagOfWords.fit(corpus.train)
    found = judge.probabilities([s.text for s in corpus.validation]) >= 0.5
    labels = np.array([s.label for s in corpus.validation], bool)
    assert np.mean(found == labels) <= 0.6
