"""Sentences of a corpus, and what it holds in figures."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from statistics import mean

import rich.table
from rich.console import Console

from apps.cola.reading import words
from apps.cola.sentences import Corpus, Sentence
from apps.console import say
from apps.tables import print_table, side_by_side

MARKS = {1: "", 0: "*"}


def choose(
    sentences: Sequence[Sentence], count: int, seed: int, source: str | None = None
) -> list[Sentence]:
    """Choose pairs of neighbours of every source, or of one, by a seed.

    Neighbours, because in the grammar they are a minimal pair, and in CoLA often from
    one passage. `count` is the number of sentences of each source.
    """
    generator = random.Random(seed)
    chosen = []
    for name in sources(sentences):
        own = [s for s in sentences if s.source == name and source in (None, name)]
        starts = range(0, len(own), 2)
        picked = generator.sample(starts, min(-(-count // 2), len(starts)))
        found = [s for start in sorted(picked) for s in own[start : start + 2]]
        chosen += found[:count]
    return chosen


def sources(sentences: Sequence[Sentence]) -> list[str]:
    """The sources of sentences, as first seen."""
    return list(dict.fromkeys(sentence.source for sentence in sentences))


def print_sentences(
    sentences: Sequence[Sentence], grouping: str, console: Console
) -> None:
    """Print a table: source, a star before what is unacceptable, the sentence."""
    table = rich.table.Table(grouping, "", "sentence")
    for source, of_one in groupby(sentences, lambda sentence: sentence.source):
        table.add_section()
        for number, sentence in enumerate(of_one):
            name = "" if number else source
            table.add_row(name, MARKS[sentence.label], sentence.text)
    console.print(table)


def print_info(corpus: Corpus, console: Console) -> None:
    """Print one screen: sizes, labels, lengths, words, and where sentences are from."""
    known = _vocabulary(corpus.train)
    figures = {
        name: _figures(sentences, known) | _by_source(corpus, sentences)
        for name, sentences in corpus.splits.items()
    }
    print_table(side_by_side(figures), console, corpus.name, right=True)
    commonest = " ".join(word for word, _ in known.most_common(12))
    say(f"vocabulary: {len(known):,} words and marks; commonest: {commonest}", console)


def _vocabulary(sentences: Sequence[Sentence]) -> Counter[str]:
    return Counter(word for s in sentences for word in words(s.text))


def _figures(sentences: Sequence[Sentence], known: Counter[str]) -> dict[str, str]:
    lengths = [len(words(sentence.text)) for sentence in sentences]
    found = _vocabulary(sentences)
    unknown = sum(count for word, count in found.items() if word not in known)
    acceptable = mean(sentence.label for sentence in sentences)
    span = f"{min(lengths)} to {max(lengths)}, mean {mean(lengths):.1f}"
    return {
        "sentences": f"{len(sentences):,}",
        "acceptable": f"{acceptable:.1%}",
        "words a sentence": span,
        "words not in training": f"{unknown / sum(lengths):.1%}",
    }


def _by_source(corpus: Corpus, sentences: Sequence[Sentence]) -> dict[str, str]:
    """How many sentences are from each source of the corpus."""
    everything = [s for split in corpus.splits.values() for s in split]
    counts = Counter(sentence.source for sentence in sentences)
    return {
        f"{corpus.grouping} {name}": f"{counts[name]:,}" if counts[name] else "-"
        for name in sources(everything)
    }
