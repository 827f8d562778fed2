"""Captions letter by letter, instead of word by word.

Captions come as ids of words. Spelled out, they are ids of letters: those of the words,
with a space between two of them. What no letter can say keeps an id of its own:
`<NULL>`, `<START>`, `<END>`, and `<UNK>` for a word that the vocabulary does not know.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apps.captioning.data import CaptionData, Split
from apps.captioning.layout import END, NULL, SPECIAL_WORDS, START, DataError
from minigrad.io.errors import TooLargeError
from minigrad.io.limits import check_size

SPACE = " "


def spell(data: CaptionData) -> CaptionData:
    """The same captions letter by letter; pictures and features stay as they are."""
    words = [word for word in data.vocabulary if word not in SPECIAL_WORDS]
    found = sorted(set().union(*words) - {SPACE})
    letters = {name: i for i, name in enumerate([*SPECIAL_WORDS, SPACE, *found])}
    train, val = (
        _spell_split(split, data.vocabulary, letters)
        for split in (data.train, data.val)
    )
    return replace(data, tokens="char", vocabulary=letters, train=train, val=val)


def _spell_split(
    split: Split, vocabulary: dict[str, int], letters: dict[str, int]
) -> Split:
    """Spell a split's captions; padded to the longest, in as few bytes as will do."""
    # The n-th character of a text has its n-th letter's id as code.
    spelling = {
        i: "".join(chr(letters[x]) for x in ([w] if w in SPECIAL_WORDS else w))
        for w, i in vocabulary.items()
    }
    size = np.min_scalar_type(len(letters))
    _require_room(split, spelling, vocabulary[NULL], size.itemsize)
    start, end, space = (chr(letters[name]) for name in (START, END, SPACE))
    silent = {vocabulary[NULL], vocabulary[START]}
    texts = []
    for ids in split.captions.tolist():
        ended = vocabulary[END] in ids
        said = ids[: ids.index(vocabulary[END])] if ended else ids
        words = space.join(spelling[i] for i in said if i not in silent)
        texts.append(start + words + (end if ended else ""))
    spelled = np.full((len(texts), max(map(len, texts))), letters[NULL], size)
    for row, text in zip(spelled, texts, strict=True):
        row[: len(text)] = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return split.with_captions(spelled, split.image_indices)


def _require_room(
    split: Split, spelling: dict[int, str], null: int, itemsize: int
) -> None:
    """Raise where captions are so long, letter by letter, that memory would not do."""
    lengths = np.array([len(spelling[i]) + 1 for i in range(len(spelling))])
    lengths[null] = 0
    longest = int(lengths[split.captions].sum(axis=1).max())
    # A text has at least a byte a letter, too.
    needed = len(split.captions) * longest * (itemsize + 1)
    try:
        check_size(needed, f"'{split.name}', padded to {longest:,} letters a caption,")
    except TooLargeError as error:
        raise DataError(
            f"{error}. Leave out the longest, or train with --tokens word."
        ) from error
