"""Is the drawn set the same for a seed, true, and unseen where it says so?"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from apps.captioning import data, shapes

SCENE = shapes.Scene(
    shapes.Thing("red", "circle", 16.0, 32.0, 12.0),
    shapes.Thing("blue", "square", 48.0, 32.0, 12.0),
    "left of",
)


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
    assert len(a) == 12 + 4 + 2 + 2 + 1
    assert a == b
    assert a != c


def test_no_kind_of_scene_is_in_both_splits() -> None:
    kinds = shapes.split_kinds(np.random.default_rng(0))
    train, val = set(kinds["train"]), set(kinds["val"])
    assert len(train) + len(val) == 15 * 14 * 2
    assert [sum(r in kind for kind in val) for r in shapes.OPPOSITES] == [35, 35]
    assert not train & val


def test_every_scene_is_of_its_splits_kinds(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    kinds = shapes.split_kinds(np.random.default_rng(3))
    for split in (loaded.train, loaded.val):
        told = {c for c in map(" ".join, loaded.words(split.captions)) if "is" in c}
        for a, b, relation, c, d in kinds[split.name]:
            told.discard(f"the {a} {b} is {relation} the {c} {d}")
        assert not {t for t in told if not t.startswith("there")}


def test_captions_say_what_the_scene_shows() -> None:
    assert shapes.captions(SCENE) == [
        "a red circle left of a blue square",
        "a blue square right of a red circle",
        "the red circle is left of the blue square",
        "there is a red circle left of a blue square",
        "a picture of a red circle and a blue square",
    ]


def test_picture_shows_the_things_where_they_are() -> None:
    picture = shapes.render(SCENE, np.random.default_rng(0)) / 255
    for thing in (SCENE.first, SCENE.second):
        seen = picture[int(thing.y), int(thing.x)]
        np.testing.assert_allclose(seen, shapes.COLOURS[thing.colour], atol=0.05)


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


def test_existing_folder_is_kept_and_failure_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    assert shapes.ensure(tmp_path / "mine") == tmp_path / "mine"
    assert not list((tmp_path / "mine").iterdir())

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
