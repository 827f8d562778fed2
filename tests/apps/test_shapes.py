"""Is the drawn set the same for a seed, true, and unseen where it says so?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from apps.captioning import data, grammar, layout, shapes
from apps.captioning.grammar import Scene, Thing
from apps.captioning.layout import DataError

CIRCLE = Thing("red", "circle", 16.0, 32.0, 12.0)
SQUARE = Thing("blue", "square", 48.0, 32.0, 7.0)
SCENE = Scene((CIRCLE, SQUARE))


def contents(folder: Path) -> dict[str, bytes]:
    """Every picture's pixels and every dataset's numbers."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".png":
            found[name] = Image.open(path).tobytes()
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                found |= {f"{name}/{k}": v[:].tobytes() for k, v in file.items()}
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def test_same_seed_same_set(tmp_path: Path) -> None:
    for name, seed in [("a", 5), ("b", 5), ("c", 6)]:
        shapes.make(tmp_path / name, seed, scenes=(8, 4))
    a, b, c = (contents(tmp_path / name) for name in "abc")
    # Pictures, captions with their indices, features, masks, and text files.
    assert len(a) == 12 + 4 + 2 + 2 + 5
    assert a == b
    assert a != c


def test_an_equal_share_of_each_relation_is_held_out() -> None:
    held = shapes.held_out_kinds(np.random.default_rng(0))
    told = [relation for _, _, relation, _, _ in held]
    assert told.count("left of") == told.count("above") == 15 * 12 // 6
    assert len(told) == 2 * 15 * 12 // 6


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_validation_tells_is_shown_in_training(seed: int) -> None:
    """Not even by two things of which no caption tells."""
    rng = np.random.default_rng(seed)
    held = shapes.held_out_kinds(rng)
    train = [shapes.training_scene(held, rng) for _ in range(1000)]
    val = [shapes.validation_scene(held, rng) for _ in range(100)]
    shown = set().union(*(scene.all_kinds for scene in train))
    assert len(shown) > 250  # of the 300 that are not held out
    assert all(scene.kinds and not scene.kinds & shown for scene in val)
    assert {len(scene.things) for scene in train} == {2, 3}
    assert {len(scene.things) for scene in val} == {2, 3}


def test_the_files_hold_out_the_same(drawn: Path) -> None:
    """Asserted of the words that the files hold, whatever drew them."""
    loaded = data.load_data(drawn)
    kinds = {
        split.name: {
            kind
            for words in loaded.words(split.captions)
            for kind in said(" ".join(words))
        }
        for split in (loaded.train, loaded.val)
    }
    assert kinds["train"]
    assert kinds["val"]
    assert not kinds["train"] & kinds["val"]


def said(caption: str) -> list[tuple[str, ...]]:
    """The combinations that a caption tells, the left or upper thing first."""
    claim = grammar.parse(caption)
    if claim.relation in ("right of", "below"):
        claim = claim.turned()
    return [
        (a.colour, a.shape, claim.relation, b.colour, b.shape)
        for a in claim.subjects
        for b in claim.objects
    ]


def test_the_files_tell_and_show_the_same_scenes(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    for split in (loaded.train, loaded.val):
        scenes = shapes.load_scenes(drawn, split.name)
        assert len(scenes) == len(split.features) == len(split.images)
        for picture, scene in enumerate(scenes):
            words = loaded.words(split.references(picture))
            assert [" ".join(w) for w in words] == grammar.captions(scene)
            with Image.open(split.images[picture]) as image:
                seen = np.asarray(image)
            np.testing.assert_array_equal(
                split.features[picture], shapes.grid_features(seen)
            )


def test_masks_show_each_thing_alone(drawn: Path) -> None:
    scenes = shapes.load_scenes(drawn, "val")
    with h5py.File(drawn / "val2014_masks.h5") as file:
        masks = file["masks"][:]
    assert masks.shape == (12, 3, 64, 64)
    assert masks.dtype == bool
    assert masks.sum(axis=1).max() == 1  # nothing overlaps
    for scene, covered in zip(scenes, masks, strict=True):
        assert [m.any() for m in covered] == [i < len(scene.things) for i in range(3)]
        for thing, m in zip(scene.things, covered, strict=False):
            rows, columns = np.nonzero(m)
            assert columns.mean() + 0.5 == pytest.approx(thing.x, abs=0.5)
            assert 1.6 * thing.radius - 2 < np.ptp(columns) < 2 * thing.radius
            assert rows.max() + 0.5 <= thing.y + thing.radius + 0.5


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("told", grammar.OPPOSITES)
def test_things_are_placed_as_told_and_apart(count: int, told: str) -> None:
    rng = np.random.default_rng(0)
    names = [("red", "circle"), ("blue", "circle"), ("green", "circle")][:count]
    for _ in range(200):
        scene = shapes.place(names, told, rng)
        first, *others = scene.things
        assert {grammar.relation(first, other) for other in others} == {told}
        assert sum(shapes.mask(thing) for thing in scene.things).max() <= 1
        for thing in scene.things:
            low, high = shapes.RADII[thing.size]
            assert low <= thing.radius <= high
            for centre in (thing.x, thing.y):
                assert thing.radius < centre < 64 - thing.radius


THING = {"colour": "red", "shape": "circle", "x": 20.0, "y": 20.0, "radius": 6.0}
OTHER = {**THING, "colour": "blue", "x": 40.0}


def scenes_of(*things: object) -> str:
    return json.dumps([things])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read as scenes: .*No such file"),
        ("[", "cannot be read as scenes"),
        ("[" * 100_000, "nested too deeply"),
        ("[[1]]", "another kind"),
        ("7", "another kind"),
        ('[[{"colour": "red"}]]', "another kind"),
        (scenes_of(THING), "a scene in it has 1 things"),
        (scenes_of(THING, {**OTHER, "colour": "\x1b[31m"}), "is nothing that is drawn"),
        (scenes_of(THING, {**OTHER, "shape": []}), "is nothing that is drawn"),
        (scenes_of(THING, {**OTHER, "colour": {}}), "another kind"),
        (scenes_of(THING, {**OTHER, "x": float("nan")}), "is nothing that is drawn"),
        (scenes_of(THING, {**OTHER, "radius": "6"}), "is nothing that is drawn"),
        (scenes_of(THING, OTHER), "it has 1 scenes for 2 pictures"),
    ],
)
def test_a_folder_that_was_not_drawn_is_refused(
    text: str, said: str, tmp_path: Path
) -> None:
    if text:
        (tmp_path / "val2014_scenes.json").write_text(text)
    with pytest.raises(layout.DataError, match=rf"val2014_scenes\.json' .*{said}"):
        shapes.load_scenes(tmp_path, "val", 2)


def test_picture_shows_the_things_where_they_are() -> None:
    picture = shapes.render(SCENE, np.random.default_rng(0)) / 255
    for thing in SCENE.things:
        seen = picture[int(thing.y), int(thing.x)]
        np.testing.assert_allclose(seen, shapes.COLOURS[thing.colour], atol=0.05)


def test_words_and_shapes_are_drawn_that_the_grammar_has() -> None:
    assert tuple(shapes.COLOURS) == grammar.COLOURS
    assert tuple(shapes.RADII) == grammar.SIZES


@pytest.mark.parametrize(
    ("shape", "area"),
    [("circle", np.pi * 144), ("square", (2 * 0.89 * 12) ** 2), ("triangle", 288)],
)
def test_masks_cover_their_areas(shape: str, area: float) -> None:
    covered = shapes.mask(shapes.Thing("red", shape, 32.0, 32.0, 12.0))
    assert covered.min() == 0
    assert covered.max() == 1
    assert covered.sum() == pytest.approx(area, rel=0.02)


def test_features_of_blank_paper_are_plain() -> None:
    blank = np.full((64, 64, 3), 255, np.uint8)
    assert not shapes.grid_features(blank).any()


def split_up(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell the hues in cells, (4, 4, 8), from each hue's edges, (8, 6)."""
    hues, edges = np.split(features, [128])
    return hues.reshape(4, 4, 8), edges.reshape(8, 6)


def test_features_count_hues_where_they_are() -> None:
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[20:28, 36:44] = (0, 255, 255)  # cyan: 180 degrees, the fourth of eight
    hues, _ = split_up(shapes.grid_features(picture))
    assert hues[1, 2, 4] == pytest.approx(np.sqrt(64 / 256))
    assert np.count_nonzero(hues.round(6)) == 1
    picture[20:28, 36:44] = (0, 255, 128)  # between two hues, 135 and 180 degrees
    hues, _ = split_up(shapes.grid_features(picture))
    assert np.flatnonzero(hues[1, 2].round(6)).tolist() == [3, 4]


@pytest.mark.parametrize("turned", [False, True])
def test_features_count_edges_by_direction(turned: bool) -> None:
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[:, 24:40] = (0, 255, 255)  # two upright edges
    if turned:
        picture = np.swapaxes(picture, 0, 1).copy()
    _, edges = split_up(shapes.grid_features(picture))
    # Of each edge the half inside counts: 64 pixels, a change of 1/2 a pixel.
    np.testing.assert_allclose(edges[4, 3 if turned else 0], 64 / 65, atol=1e-6)
    assert np.count_nonzero(edges.round(6)) == 1


def test_existing_folder_is_kept_and_failure_leaves_none(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(drawn, tmp_path / "mine")
    assert shapes.ensure(tmp_path / "mine") == tmp_path / "mine"

    def fail(folder: Path, seed: int) -> None:
        (folder / "half").write_text("made")
        raise OSError("disk full")

    monkeypatch.setattr(shapes, "make", fail)
    with pytest.raises(OSError, match="disk full"):
        shapes.ensure(tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def test_ensure_draws_what_load_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = shapes.make
    monkeypatch.setattr(shapes, "make", lambda f, seed: make(f, seed, (6, 3)))
    loaded = data.load_data(shapes.ensure(tmp_path / "new"))
    assert len(loaded.train.features) == 6
    assert len(loaded.val.images) == 3
    assert all(path.is_file() for path in loaded.val.images)


def test_a_set_of_an_older_make_is_refused_at_once(drawn: Path, tmp_path: Path) -> None:
    """Before training, not when the scenes are needed after it."""
    folder = tmp_path / "old"
    shutil.copytree(drawn, folder)
    (folder / shapes.scenes_file("val")).unlink()
    with pytest.raises(DataError, match="scenes"):
        shapes.ensure(folder)
