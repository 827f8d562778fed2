"""The grammar of captions of drawn scenes, and whether a caption is true.

One table of wordings serves both ways: filled in, it says what a scene shows; as
patterns, it tells which claim a caption makes, and the claim is held against the scene:

    caption  = group relation group                 a red circle above a blue square
             | group verb relation group            the red circle is above the ...
             | group "can be seen" relation group   a red circle can be seen above ...
             | relation group verb group            above the blue square is the ...
    group    = thing | thing "and" thing
    thing    = ("a" | "the") [size] colour shape
    verb     = "is" | "are"

A relation is claimed between every thing of the one group and every thing of the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

COLOURS = ("red", "green", "blue", "yellow", "purple")
SHAPES = ("circle", "square", "triangle")
SIZES = ("small", "large")
# A relation -> the same, seen from the other side.
OPPOSITES = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}

MIDDLE_RADIUS = 9.0  # pixels; no thing drawn comes near it

# Colour and shape of one thing, relation, colour and shape of the other.
Kind = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Thing:
    """One shape: what it is, and where (centre and half its width, in pixels)."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def size(self) -> str:
        """Its size in words."""
        return "large" if self.radius > MIDDLE_RADIUS else "small"


@dataclass(frozen=True)
class Scene:
    """Two or three things; the first stands in the same relation to all others."""

    things: tuple[Thing, ...]

    @property
    def relation(self) -> str:
        """How the first thing stands to the others."""
        return relation(self.things[0], self.things[1])

    @property
    def kinds(self) -> set[Kind]:
        """The combinations that captions tell of."""
        return {kind(self.things[0], other) for other in self.things[1:]}

    @property
    def all_kinds(self) -> set[Kind]:
        """The combinations of every two things, told of or not."""
        return {kind(a, b) for a, b in permutations(self.things, 2)}


@dataclass(frozen=True)
class Name:
    """What a caption calls a thing; it need not tell the size."""

    colour: str
    shape: str
    size: str | None = None

    def fits(self, thing: Thing) -> bool:
        """Whether the thing may be called so."""
        same = (self.colour, self.shape) == (thing.colour, thing.shape)
        return same and self.size in (None, thing.size)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.size, self.colour, self.shape)))


@dataclass(frozen=True)
class Claim:
    """What a caption says: every subject stands in the relation to every object."""

    subjects: tuple[Name, ...]
    relation: str
    objects: tuple[Name, ...]

    def turned(self) -> Claim:
        """The same claim, seen from the objects."""
        return Claim(self.objects, OPPOSITES[self.relation], self.subjects)


@dataclass(frozen=True)
class Verdict:
    """How a caption fares against its scene.

    `things`: it names every thing's colour and shape, once, and nothing else;
    `relation`: what it says about places (and sizes) is true.
    """

    things: bool
    relation: bool

    @property
    def correct(self) -> bool:
        """Whether nothing is missing and everything said is true."""
        return self.things and self.relation


@dataclass(frozen=True)
class Wording:
    """One way to put a claim."""

    form: str
    article: str
    sized: bool = False
    turned: bool = False

    def say(self, claim: Claim) -> str:
        """Put a claim into words."""
        claim = claim.turned() if self.turned else claim
        return self.form.format(
            subject=self._group(claim.subjects),
            relation=claim.relation,
            object=self._group(claim.objects),
            verb="is" if len(claim.subjects) == 1 else "are",
        )

    def understand(self, caption: str) -> Claim | None:
        """The claim that a caption makes, if it is worded so."""
        size, colour, shape = map("|".join, (SIZES, COLOURS, SHAPES))
        thing = f"{self.article} (?:(?:{size}) )?(?:{colour}) (?:{shape})"
        pattern = self.form.format(
            subject=f"(?P<subject>{thing}(?: and {thing})?)",
            relation=f"(?P<relation>{'|'.join(OPPOSITES)})",
            object=f"(?P<object>{thing}(?: and {thing})?)",
            verb="(?:is|are)",
        )
        found = re.fullmatch(pattern, caption)
        if found is None:
            return None
        subjects, objects = _names(found["subject"]), _names(found["object"])
        wrong = "are" if len(subjects) == 1 else "is"
        if wrong in caption.split():
            return None
        return Claim(subjects, found["relation"], objects)

    def _group(self, names: Sequence[Name]) -> str:
        return " and ".join(f"{self.article} {name}" for name in names)


WORDINGS = (
    Wording("{subject} {relation} {object}", "a"),
    Wording("{subject} {verb} {relation} {object}", "the", turned=True),
    Wording("{subject} can be seen {relation} {object}", "a"),
    Wording("{relation} {object} {verb} {subject}", "the"),
    Wording("{subject} {relation} {object}", "a", sized=True, turned=True),
)


def relation(first: Thing, second: Thing) -> str:
    """The one relation in which the first stands to the second: the nearest of four."""
    across, down = second.x - first.x, second.y - first.y
    if abs(across) > abs(down):
        return "left of" if across > 0 else "right of"
    return "above" if down > 0 else "below"


def kind(first: Thing, second: Thing) -> Kind:
    """What two things show, whichever is named first."""
    told = relation(first, second)
    if told in ("right of", "below"):
        first, second, told = second, first, OPPOSITES[told]
    return (first.colour, first.shape, told, second.colour, second.shape)


def captions(scene: Scene) -> list[str]:
    """Five true captions, each worded differently."""
    plain = tuple(Name(t.colour, t.shape) for t in scene.things)
    sized = tuple(Name(t.colour, t.shape, t.size) for t in scene.things)
    told = []
    for wording in WORDINGS:
        first, *others = sized if wording.sized else plain
        told.append(wording.say(Claim((first,), scene.relation, tuple(others))))
    return told


def parse(caption: str) -> Claim | None:
    """What a caption claims; None if it is no sentence of the grammar."""
    claims = (wording.understand(caption) for wording in WORDINGS)
    return next((claim for claim in claims if claim is not None), None)


def judge(caption: str, scene: Scene) -> Verdict:
    """Hold a caption against its scene; what is no sentence names and tells nothing."""
    claim = parse(caption)
    if claim is None:
        return Verdict(things=False, relation=False)
    said = Counter((n.colour, n.shape) for n in (*claim.subjects, *claim.objects))
    there = Counter((t.colour, t.shape) for t in scene.things)
    holds = all(
        any(
            subject.fits(a) and other.fits(b) and relation(a, b) == claim.relation
            for a, b in permutations(scene.things, 2)
        )
        for subject, other in product(claim.subjects, claim.objects)
    )
    return Verdict(things=said == there, relation=holds)


def vocabulary() -> list[str]:
    """Every word of the grammar, in alphabetical order."""
    phrases = [*COLOURS, *SHAPES, *SIZES, *OPPOSITES, "a the and is are can be seen"]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _names(group: str) -> tuple[Name, ...]:
    names = []
    for thing in group.split(" and "):
        *size, colour, shape = thing.split()[1:]
        names.append(Name(colour, shape, size[0] if size else None))
    return tuple(names)
