"""Is every class of ImageNet found by its names, and nothing else taken for one?"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import UserError
from apps.image_gradients import classes

SHARED = Path(__file__).resolve().parents[3] / "shared/data/imagenet"
needs_data = pytest.mark.skipif(
    not SHARED.exists(), reason=f"{SHARED} does not hold ImageNet's pictures and names"
)

IDS = st.integers(0, 999)

# Known to stand there in torchvision's order, and far apart.
KNOWN = {
    0: "tench",
    76: "tarantula",
    78: "tick",
    187: "Yorkshire terrier",
    281: "tabby",
    366: "gorilla",
    604: "hourglass",
    683: "oboe",
    999: "toilet tissue",
}


def words_of_one_class() -> list[tuple[str, int]]:
    """Every word that stands for one class only, whatever its capitals."""
    owners: dict[str, set[int]] = {}
    for i, words in enumerate(classes.synonyms()):
        for word in words:
            owners.setdefault(word.casefold(), set()).add(i)
    return [
        (word, i)
        for i, words in enumerate(classes.synonyms())
        for word in words
        if owners[word.casefold()] == {i}
    ]


def varied(text: str, way: int) -> str:
    """The same text as somebody else may write it."""
    ways = (text, text.upper(), text.title(), f"  {text.replace(' ', '-')} ")
    return ways[way]


def test_a_thousand_classes_in_torchvisions_order() -> None:
    assert len(classes.synonyms()) == 1000
    assert {i: classes.names()[i] for i in KNOWN} == KNOWN
    assert classes.synonyms()[281] == ("tabby", "tabby cat")


def test_every_word_is_whole() -> None:
    for words in classes.synonyms():
        assert all(word and word == word.strip() for word in words), words
        assert len(set(words)) == len(words), words


def test_the_words_come_with_their_licence() -> None:
    head = [x for x in classes.FILE.read_text("utf-8").splitlines() if x[0] == "#"]
    assert any("WordNet 3.0 Copyright 2006 by Princeton University" in x for x in head)
    assert any("ILSVRC2012" in x for x in head)


@needs_data
def test_others_call_most_classes_alike() -> None:
    theirs = json.loads((SHARED / "class_names.json").read_text(encoding="utf-8"))
    alike = [
        any(word.casefold() in other.casefold() for word in words)
        for words, other in zip(classes.synonyms(), theirs, strict=True)
    ]
    assert sum(alike) > 900
    with np.load(SHARED / "imagenet_val_25.npz") as pictures:
        assert all(alike[i] for i in pictures["y"])


def test_no_two_names_are_alike() -> None:
    assert len({name.casefold() for name in classes.names()}) == 1000


@pytest.mark.parametrize(
    ("class_", "name"),
    [
        (134, "crane (bird)"),
        (517, "crane (machine)"),
        (264, "Cardigan Welsh corgi"),
        (474, "cardigan (sweater)"),
        (639, "tank suit"),
        (594, "harp"),
    ],
)
def test_a_first_word_of_several_is_no_name(class_: int, name: str) -> None:
    assert classes.names()[class_] == name


@given(class_=IDS, way=st.integers(0, 3))
def test_every_name_is_found(class_: int, way: int) -> None:
    assert classes.find(varied(classes.names()[class_], way)) == class_


@given(pair=st.sampled_from(words_of_one_class()), way=st.integers(0, 3))
def test_every_word_of_one_class_is_found(pair: tuple[str, int], way: int) -> None:
    word, class_ = pair
    assert classes.find(varied(word, way)) == class_


def test_every_whole_line_is_found_unless_two_are_the_same() -> None:
    lines = [", ".join(words) for words in classes.synonyms()]
    for class_, line in enumerate(lines):
        # Single words that others have too: crane, crane, maillot, cardigan.
        if class_ not in (134, 517, 638, 474):
            assert classes.find(line) == class_


@given(IDS)
def test_every_id_is_found(class_: int) -> None:
    assert classes.find(str(class_)) == class_
    assert classes.find(f" {class_:05} ") == class_


@given(st.integers().filter(lambda n: not 0 <= n < 1000))
def test_other_ids_are_refused(number: int) -> None:
    with pytest.raises(UserError, match=r"no class [-\d]+: ids go from 0 to 999"):
        classes.find(str(number))


def test_a_row_of_digits_without_end_is_refused() -> None:
    with pytest.raises(UserError, match="ids go from 0 to 999") as caught:
        classes.find("9" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "candidates"),
    [("crane", (134, 517)), ("Panda", (387, 388)), ("cardigan", (264, 474))],
)
def test_a_word_of_several_classes(text: str, candidates: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="stands for several classes") as caught:
        classes.find(text)
    for class_ in candidates:
        words = ", ".join(classes.synonyms()[class_])
        assert f"{class_} is {words}" in str(caught.value)
    assert "Give the id" in str(caught.value)


def test_a_name_wins_over_a_lesser_word_of_others() -> None:
    assert "harp" in classes.synonyms()[593]
    assert classes.find("harp") == 594


@pytest.mark.parametrize(
    ("text", "near"),
    [("tabbby", r"tabby \(281\)"), ("cat", r"tabby cat \(281\)"), ("oboes", "oboe")],
)
def test_an_unknown_word_is_answered_with_near_ones(text: str, near: str) -> None:
    with pytest.raises(UserError, match=f"called '{text}'. Did you mean .*{near}"):
        classes.find(text)


def test_whole_words_are_near_before_parts_of_words() -> None:
    with pytest.raises(UserError, match=r"mean school bus \(779\), busby \("):
        classes.find("bus")


@pytest.mark.parametrize("text", ["", "  ", "zzzzqq", "x" * 100_000, "²", "2.5"])
def test_what_is_like_nothing(text: str) -> None:
    with pytest.raises(UserError, match=r"called .* or an id from 0 to 999") as caught:
        classes.find(text)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=20))
def test_any_text_is_a_class_or_the_users_error(text: str) -> None:
    with contextlib.suppress(UserError):
        assert 0 <= classes.find(text) < 1000
