"""Names of ImageNet's classes, and which one somebody means.

`imagenet_classes.txt` has the words of each class, the most usual first, and says where
they are from. They are WordNet's, and some stand for several classes: "crane" is a bird
and a machine.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from functools import cache
from pathlib import Path

from apps.errors import UserError
from apps.image_gradients.squeezenet import CLASSES

FILE = Path(__file__).with_name("imagenet_classes.txt")
# WordNet has no second word for these.
MEANT = {134: "bird", 474: "sweater", 517: "machine", 638: "swimsuit"}
LONGEST = 80  # characters of a text that are looked at, and shown in messages


@cache
def synonyms() -> tuple[tuple[str, ...], ...]:
    """All words of each class, "tabby" and "tabby cat" for class 281."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return tuple(tuple(x.split(", ")) for x in lines if not x.startswith("#"))


@cache
def names() -> tuple[str, ...]:
    """One name for each class, no two alike.

    It is the first word. Where others have the same, it is the first one that no other
    class has, or else the first with what is meant behind it, as in "crane (bird)".
    """
    firsts = Counter(_key(words[0]) for words in synonyms())
    owners = Counter(key for words in synonyms() for key in set(map(_key, words)))
    found = []
    for i, words in enumerate(synonyms()):
        own = [word for word in words if owners[_key(word)] == 1]
        shared = own[0] if own else f"{words[0]} ({MEANT.get(i, i)})"
        found.append(words[0] if firsts[_key(words[0])] == 1 else shared)
    return tuple(found)


def find(text: str) -> int:
    """Give the class of an id, as "281", or of a name or any word of it.

    Capitals, hyphens and spaces make no difference. A word that is one class's name is
    that class, even where it is a lesser word of others, as "harp" is of harmonica.
    Raises: UserError that lists the classes that may be meant, or the range of ids.
    """
    if re.fullmatch(r"\s*[+-]?\d+\s*", text, re.ASCII):
        return _of_id(text.strip())
    found = _index().get(_key(text), ())
    if len(found) == 1:
        return found[0]
    shown = repr(text[:LONGEST])
    if found:
        # Where all words of a class do not say what is meant, its name does.
        told = [names()[i] if i in MEANT else ", ".join(synonyms()[i]) for i in found]
        listed = "; ".join(f"{i} is {t}" for i, t in zip(found, told, strict=True))
        raise UserError(
            f"{shown} stands for several classes: {listed}. Give the id of the one "
            "that you mean."
        )
    near = ", ".join(f"{k} ({_index()[k][0]})" for k in _near(_key(text[:LONGEST])))
    guess = f" Did you mean {near}?" if near else ""
    raise UserError(
        f"ImageNet has no class called {shown}.{guess} Give one of its names, or an id "
        f"from 0 to {CLASSES - 1}."
    )


def _of_id(text: str) -> int:
    # Not every row of digits fits into an int.
    if re.fullmatch(r"\+?0*\d{1,3}", text, re.ASCII):
        return int(text[-3:])
    raise UserError(
        f"ImageNet has no class {text[:LONGEST]}: ids go from 0 to {CLASSES - 1}. Give "
        "one of those, or a name."
    )


def _key(text: str) -> str:
    return " ".join(re.sub("[-_]", " ", text).casefold().split())


@cache
def _index() -> dict[str, tuple[int, ...]]:
    """The classes that each text may mean: names first, then all words and lines."""
    index: dict[str, tuple[int, ...]] = {}
    for i, words in enumerate(synonyms()):
        for key in {_key(text) for text in (*words, ", ".join(words))}:
            index[key] = (*index.get(key, ()), i)
    return index | {_key(name): (i,) for i, name in enumerate(names())}


def _near(key: str, count: int = 4) -> list[str]:
    """Words that a text is in, or almost is; no class twice."""
    keys = list(_index())
    inside = [k for k in keys if key and key in k]
    # Whole words first: who writes "cat" hardly means a catamaran.
    inside.sort(key=lambda k: (key not in k.split(), len(k)))
    alike = difflib.get_close_matches(key, keys, count, cutoff=0.75)
    first: dict[tuple[int, ...], str] = {}
    for k in (*inside, *alike):
        first.setdefault(_index()[k], k)
    return list(first.values())[:count]
