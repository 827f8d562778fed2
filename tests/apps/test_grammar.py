"""Is every caption true of its scene, and every false one refused?"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.captioning import grammar, shapes
from apps.captioning.grammar import Claim, Name, Scene, Thing

CIRCLE = Thing("red", "circle", 16.0, 32.0, 11.0)
SQUARE = Thing("blue", "square", 48.0, 20.0, 7.0)
TRIANGLE = Thing("green", "triangle", 46.0, 48.0, 11.0)
TWO = Scene((CIRCLE, SQUARE))
THREE = Scene((CIRCLE, SQUARE, TRIANGLE))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Any scene that could be drawn, of two things or three."""
    everything = list(product(grammar.COLOURS, grammar.SHAPES))
    names = draw(st.lists(st.sampled_from(everything), min_size=2, max_size=3))
    if len(set(names)) < len(names):
        names = everything[: len(names)]
    told = draw(st.sampled_from(list(grammar.OPPOSITES)))
    seed = draw(st.integers(0, 2**32 - 1))
    return shapes.place(names, told, np.random.default_rng(seed))


def test_captions_of_two_things() -> None:
    assert grammar.captions(TWO) == [
        "a red circle left of a blue square",
        "the blue square is right of the red circle",
        "a red circle can be seen left of a blue square",
        "left of the blue square is the red circle",
        "a small blue square right of a large red circle",
    ]


def test_captions_of_three_things() -> None:
    assert grammar.captions(THREE) == [
        "a red circle left of a blue square and a green triangle",
        "the blue square and the green triangle are right of the red circle",
        "a red circle can be seen left of a blue square and a green triangle",
        "left of the blue square and the green triangle is the red circle",
        "a small blue square and a large green triangle right of a large red circle",
    ]


@given(scenes())
def test_every_caption_is_a_true_sentence_that_fits_the_files(scene: Scene) -> None:
    told = grammar.captions(scene)
    assert len(set(told)) == 5
    words = set(grammar.vocabulary())
    for caption in told:
        assert set(caption.split()) <= words
        assert len(caption.split()) <= shapes.MAX_WORDS - 2
        assert grammar.judge(caption, scene).correct


@given(scenes())
def test_a_caption_says_what_was_claimed(scene: Scene) -> None:
    first, *others = (Name(t.colour, t.shape) for t in scene.things)
    claim = Claim((first,), scene.relation, tuple(others))
    plain, turned, seen, inverted, sized = map(grammar.parse, grammar.captions(scene))
    assert plain == seen == inverted == claim
    assert turned == claim.turned()
    told = [(n.colour, n.shape, n.size) for n in (*sized.objects, *sized.subjects)]
    assert told == [(t.colour, t.shape, t.size) for t in scene.things]


@given(scenes(), st.sampled_from(range(5)), st.data())
def test_any_other_word_makes_a_caption_wrong(
    scene: Scene, which: int, data: st.DataObject
) -> None:
    words = grammar.captions(scene)[which].split()
    place = data.draw(st.integers(0, len(words) - 1))
    others = [w for w in grammar.vocabulary() if w != words[place]]
    words[place] = data.draw(st.sampled_from(others))
    assert not grammar.judge(" ".join(words), scene).correct


@given(scenes(), st.sampled_from(range(5)), st.data())
def test_a_missing_word_makes_a_caption_wrong(
    scene: Scene, which: int, data: st.DataObject
) -> None:
    words = grammar.captions(scene)[which].split()
    place = data.draw(st.integers(0, len(words) - 1))
    # Only the size may go without saying.
    if words.pop(place) not in grammar.SIZES:
        assert not grammar.judge(" ".join(words), scene).correct


@pytest.mark.parametrize(
    ("caption", "things", "relation"),
    [
        ("a red circle left of a blue square and a green triangle", True, True),
        ("a green triangle and a blue square right of a red circle", True, True),
        ("a red circle right of a blue square and a green triangle", True, False),
        ("a blue square above a green triangle", False, True),
        ("a red circle and a blue square above a green triangle", True, False),
        ("a red circle left of a blue square", False, True),
        ("a red circle left of a blue square and a blue square", False, True),
        ("a red circle left of a blue square and a green circle", False, False),
        ("a blue circle left of a red square and a green triangle", False, False),
        ("a small red circle left of a blue square and a green triangle", True, False),
        ("the blue square is right of the red circle", False, True),
        ("the blue square are right of the red circle", False, False),
        ("red circle blue square green triangle", False, False),
        ("", False, False),
    ],
)
def test_verdicts(caption: str, things: bool, relation: bool) -> None:
    verdict = grammar.judge(caption, THREE)
    assert (verdict.things, verdict.relation) == (things, relation)
    assert verdict.correct == (things and relation)


def test_what_is_no_sentence_cannot_be_parsed() -> None:
    assert grammar.parse("a red") is None


@given(scenes())
def test_a_relation_has_one_opposite(scene: Scene) -> None:
    first, second, *_ = scene.things
    there, back = grammar.relation(first, second), grammar.relation(second, first)
    assert grammar.OPPOSITES[there] == back
    assert grammar.kind(first, second) == grammar.kind(second, first)


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [(60, 32, "left of"), (4, 32, "right of"), (20, 60, "above"), (20, 4, "below")],
)
def test_the_nearest_of_four_relations(x: float, y: float, told: str) -> None:
    assert grammar.relation(CIRCLE, Thing("red", "square", x, y, 7.0)) == told


def test_kinds_count_what_is_told_and_what_could_be() -> None:
    circle, square, triangle = ((t.colour, t.shape) for t in THREE.things)
    told = {(*circle, "left of", *square), (*circle, "left of", *triangle)}
    assert THREE.kinds == told
    assert THREE.all_kinds == told | {(*square, "above", *triangle)}
