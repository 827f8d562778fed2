"""Words, phrases and minimal pairs of the embedded grammar.

The classes of words are narrow, so that whether a sentence is acceptable follows from
them: a transitive verb wants its object in every context (unlike "eat") and takes no
second one (unlike "buy"); an intransitive verb takes none (unlike "run").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, NamedTuple, TypeVar

Kind = Literal["man", "woman", "person", "thing"]


class Noun(NamedTuple):
    """A noun in both numbers, or a name, which has no plural and no article."""

    singular: str
    plural: str
    kind: Kind

    @property
    def is_name(self) -> bool:
        """Whether it is a name."""
        return not self.plural

    @property
    def states(self) -> tuple[str, ...]:
        """What may stand after it and "is"."""
        return THING_STATES if self.kind == "thing" else PERSON_STATES

    def form(self, plural: bool) -> str:
        """The noun in a number."""
        return self.plural if plural else self.singular


class Verb(NamedTuple):
    """The forms of a verb; the past participle is the past."""

    base: str
    third: str
    past: str


def _nouns(kind: Kind, words: str) -> tuple[Noun, ...]:
    pairs = (word.partition("/") for word in words.split())
    return tuple(Noun(singular, plural, kind) for singular, _, plural in pairs)


def _verbs(words: str) -> tuple[Verb, ...]:
    return tuple(Verb(*word.split("/")) for word in words.split())


MEN = _nouns("man", "boy/boys king/kings uncle/uncles")
WOMEN = _nouns("woman", "girl/girls queen/queens aunt/aunts")
PERSONS = _nouns("person", "teacher/teachers doctor/doctors student/students")
THINGS = _nouns("thing", "car/cars clock/clocks key/keys lamp/lamps mirror/mirrors")
MEN_NAMES = _nouns("man", "John Peter")
WOMEN_NAMES = _nouns("woman", "Mary Anna")

NAMES = MEN_NAMES + WOMEN_NAMES
PEOPLE = MEN + WOMEN + PERSONS
NOUNS = PEOPLE + THINGS + NAMES

INTRANSITIVE = _verbs(
    "sleep/sleeps/slept smile/smiles/smiled sneeze/sneezes/sneezed "
    "yawn/yawns/yawned hesitate/hesitates/hesitated cough/coughs/coughed"
)
WITH_ANYTHING = _verbs("admire/admires/admired describe/describes/described")
WITH_PERSON = (
    _verbs("praise/praises/praised blame/blames/blamed thank/thanks/thanked")
    + WITH_ANYTHING
)
WITH_THING = (
    _verbs("repair/repairs/repaired examine/examines/examined remove/removes/removed")
    + WITH_ANYTHING
)
DITRANSITIVE = _verbs("hand/hands/handed award/awards/awarded")
OF_SPEECH = _verbs(
    "say/says/said think/thinks/thought believe/believes/believed claim/claims/claimed"
)
VERBS = tuple(dict.fromkeys(INTRANSITIVE + WITH_PERSON + WITH_THING + DITRANSITIVE))

# Before a noun, and after "is". No word is both, so that each has its own place.
PERSON_ADJECTIVES = ("old", "young", "tall")
THING_ADJECTIVES = ("old", "new", "small")
PERSON_STATES = ("tired", "happy", "hungry", "ready")
THING_STATES = ("broken", "dirty", "clean", "ready")

PREPOSITIONS = ("near", "behind")
MODALS = ("will", "must")
# They may follow any verb phrase, in any tense.
ADJUNCTS = ("in the garden", "after lunch", "at the party", "before dinner")

# Which nouns and verbs a word is a form of, by number; a state counts as a verb.
NOUN_NUMBERS = {
    form.lower(): number
    for number, noun in enumerate(NOUNS)
    for form in (noun.singular, noun.plural)
}
STATES = dict.fromkeys(PERSON_STATES + THING_STATES)
VERB_NUMBERS = {
    form: number
    for number, forms in enumerate([*VERBS, *((state,) for state in STATES)])
    for form in forms
}


A = TypeVar("A")
B = TypeVar("B")


class Pair(NamedTuple):
    """An acceptable sentence and its unacceptable neighbour."""

    acceptable: str
    unacceptable: str


# One pair of the same words, or two pairs that are each other's twins.
Cell = tuple[Pair, ...]


def pair(acceptable: str, unacceptable: str) -> Pair:
    """A pair of sentences that begin with capitals."""
    return Pair(*(text[0].upper() + text[1:] for text in (acceptable, unacceptable)))


def twins(
    say: Callable[[A, B], str], firsts: Sequence[A], seconds: Sequence[B]
) -> Cell:
    """Two pairs: what is first goes with what is first, second with second."""
    (a, b), (c, d) = [[say(one, other) for other in seconds] for one in firsts]
    return pair(a, b), pair(d, c)


class Writer(Random):
    """Random phrases; the same seed gives the same phrases."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def article(self) -> str:
        """An article that goes with both numbers."""
        return "my" if self.chance(0.2) else "the"

    def phrase(self, noun: Noun, plural: bool = False) -> str:
        """A noun with its article and perhaps an adjective; a name alone."""
        if noun.is_name:
            return noun.singular
        thing = noun.kind == "thing"
        adjectives = THING_ADJECTIVES if thing else PERSON_ADJECTIVES
        extra = f"{self.choice(adjectives)} " if self.chance(0.1) else ""
        return f"{self.article()} {extra}{noun.form(plural)}"

    def person(self) -> str:
        """Somebody."""
        return self.phrase(self.choice(PEOPLE + NAMES), self.chance(0.25))

    def thing(self) -> str:
        """Something."""
        return self.phrase(self.choice(THINGS), self.chance(0.25))

    def numbers(self, noun: Noun) -> list[str]:
        """The same phrase in the singular and in the plural."""
        before = self.phrase(noun).rsplit(" ", 1)[0]
        return [f"{before} {noun.form(plural)}" for plural in (False, True)]

    def place(self, noun: Noun, probability: float = 0.25) -> str:
        """Where somebody or something is, with this probability."""
        if not self.chance(probability):
            return ""
        person = noun.kind != "thing" and self.chance(0.5)
        other = self.person() if person else self.thing()
        return f" {self.choice(PREPOSITIONS)} {other}"

    def tail(self, noun: Noun) -> str:
        """What may follow a noun: nothing, a place, or a relative clause."""
        if self.chance(0.75):
            return self.place(noun, 0.4)
        if noun.kind == "thing":
            return f" that {self.person()} {self.choice(WITH_THING).past}"
        if self.chance(0.5):
            return f" who {self.person()} {self.choice(WITH_PERSON).past}"
        return f" who {self.choice(WITH_PERSON).past} {self.person()}"

    def subject(self) -> str:
        """Somebody, and perhaps where."""
        noun = self.choice(PEOPLE + NAMES)
        return self.phrase(noun) + self.place(noun, 0.1)

    def tense(self) -> Callable[[Verb], str]:
        """A tense that goes with every subject."""
        kind = self.choice(("past", "past", "did", "modal"))
        modal = self.choice(MODALS)
        if kind == "past":
            return lambda verb: verb.past
        auxiliary = "did not" if kind == "did" else modal
        return lambda verb: f"{auxiliary} {verb.base}"

    def adjunct(self) -> str:
        """What may follow a verb phrase."""
        return f" {self.choice(ADJUNCTS)}" if self.chance(0.08) else ""

    def opening(self) -> str:
        """What may stand before a statement."""
        if self.chance(0.93):
            return ""
        return f"{self.person()} {self.choice(OF_SPEECH).past} that "
