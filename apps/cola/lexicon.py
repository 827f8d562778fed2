"""The words of the embedded grammar, and how they inflect.

The classes are narrow, so that whether a sentence is acceptable follows from them. A
transitive verb here wants its object in every context (unlike "eat") and takes no
second one (unlike "buy"); an intransitive verb takes none (unlike "run").
"""

from __future__ import annotations

from typing import Literal, NamedTuple

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
