"""Which sentences can a network learn grammar from without any download?

Minimal pairs of a small English: an acceptable sentence and one that differs in a word,
or in the order of the words, and is not. Five phenomena:

    agreement        The keys near the lamp are / *is dirty.
    reflexive        The girl said that the boy blamed himself / *herself.
    order            The old teacher slept. / *The teacher old slept.
    wh               What will the boy repair? / *What will the boy repair the car?
    argument         The boy fainted. / *The boy fainted the car.

A pair whose words differ has a twin in which they differ the other way round ("The key
near the lamps is / *are dirty."): no word, and no sum over the words, tells which is
which. Validation asks for combinations that training never shows: a noun and a verb (or
an adjective after "is") that stand in no training sentence together, though each of
them stands in many.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from apps.cola.data import Corpus, DataError, Sentence
from apps.cola.lexicon import (
    ADJUNCTS,
    DITRANSITIVE,
    INTRANSITIVE,
    MEN,
    MEN_NAMES,
    MODALS,
    NAMES,
    NOUNS,
    OF_SPEECH,
    PEOPLE,
    PERSON_ADJECTIVES,
    PERSON_STATES,
    PREPOSITIONS,
    THING_ADJECTIVES,
    THING_STATES,
    THINGS,
    VERBS,
    WITH_PERSON,
    WITH_THING,
    WOMEN,
    WOMEN_NAMES,
    Noun,
    Verb,
)
from apps.cola.tokens import words

T = TypeVar("T")

TRAIN_SENTENCES = 20_000
VALIDATION_SENTENCES = 1_000

# Of 100 training sentences. What depends on distant words takes more to learn than what
# neighbours tell.
SHARES = {"agreement": 30, "reflexive": 22, "order": 10, "wh": 19, "argument": 19}

# So many cells in a row that are of no use, and the grammar has no more to say.
MISSES = 20_000

# One in so many combinations of a noun with a verb is kept for validation.
HELD_OUT = 8


@dataclass(frozen=True)
class Pair:
    """An acceptable sentence and its unacceptable neighbour."""

    acceptable: str
    unacceptable: str


# One pair of the same words, or two pairs that are each other's twins.
Cell = tuple[Pair, ...]


class Writer:
    """Makes phrases at random; the same seed makes the same phrases."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def chance(self, share: float) -> bool:
        """True in this share of the cases."""
        return self._random.random() < share

    def one(self, choices: Sequence[T]) -> T:
        """One of several."""
        return self._random.choice(choices)

    def two(self, choices: Sequence[T]) -> list[T]:
        """Two different ones of several."""
        return self._random.sample(choices, 2)

    def phrase(self, noun: Noun, plural: bool = False, adjective: float = 0.1) -> str:
        """A noun with its article and perhaps an adjective; a name alone."""
        if noun.is_name:
            return noun.singular
        own = THING_ADJECTIVES if noun.kind == "thing" else PERSON_ADJECTIVES
        extra = f"{self.one(own)} " if self.chance(adjective) else ""
        return f"{self.article()} {extra}{noun.form(plural)}"

    def article(self) -> str:
        """An article that goes with both numbers."""
        return "my" if self.chance(0.2) else "the"

    def person(self) -> str:
        """Somebody."""
        return self.phrase(self.one(PEOPLE + NAMES), self.chance(0.25))

    def thing(self) -> str:
        """Something."""
        return self.phrase(self.one(THINGS), self.chance(0.25))

    def place(self, noun: Noun, share: float = 0.25) -> str:
        """Where somebody or something is, in this share of the cases."""
        if not self.chance(share):
            return ""
        other = self.thing() if noun.kind == "thing" else self.someone_or_thing()
        return f" {self.one(PREPOSITIONS)} {other}"

    def tail(self, noun: Noun) -> str:
        """What may follow a noun: nothing, a place, or a relative clause."""
        if self.chance(0.75):
            return self.place(noun, 0.4)
        if noun.kind == "thing":
            return f" that {self.person()} {self.one(WITH_THING).past}"
        if self.chance(0.5):
            return f" who {self.person()} {self.one(WITH_PERSON).past}"
        return f" who {self.one(WITH_PERSON).past} {self.person()}"

    def someone_or_thing(self) -> str:
        """Somebody or something."""
        return self.person() if self.chance(0.5) else self.thing()

    def tense(self) -> Callable[[Verb], str]:
        """A tense that goes with every subject."""
        kind, modal = self.one(("past", "past", "did", "modal")), self.one(MODALS)
        forms: dict[str, Callable[[Verb], str]] = {
            "past": lambda verb: verb.past,
            "did": lambda verb: f"did not {verb.base}",
            "modal": lambda verb: f"{modal} {verb.base}",
        }
        return forms[kind]

    def adjunct(self) -> str:
        """What may follow a verb phrase."""
        return f" {self.one(ADJUNCTS)}" if self.chance(0.08) else ""

    def opening(self) -> str:
        """What may stand before a statement."""
        if self.chance(0.93):
            return ""
        return f"{self.person()} {self.one(OF_SPEECH).past} that "


def agreement(writer: Writer) -> Cell:
    """The verb has the number of its subject, not that of a noun nearby."""
    if writer.chance(0.2):
        return _agreement_of_two(writer)
    noun = writer.one(THINGS if writer.chance(0.4) else PEOPLE)
    before, after = writer.phrase(noun).rsplit(" ", 1)[0], writer.tail(noun)
    subjects = [f"{before} {noun.form(plural)}{after}" for plural in (False, True)]
    if writer.chance(0.1):
        auxiliaries, rest = _fronted(writer, noun)
        asked = [[f"{a} {s} {rest}?" for a in auxiliaries] for s in subjects]
        return _twins(asked)
    opening, verbs = writer.opening(), _agreeing(writer, noun)
    return _twins([[f"{opening}{s} {v}." for v in verbs] for s in subjects])


def _agreement_of_two(writer: Writer) -> Cell:
    """Two joined by "and" are many, one beside another is one."""
    first, second = writer.two(PEOPLE + NAMES)
    opening, verbs = writer.opening(), _agreeing(writer, first)
    one, other = writer.phrase(first), writer.phrase(second)
    subjects = [f"{one} {link} {other}" for link in (writer.one(PREPOSITIONS), "and")]
    return _twins([[f"{opening}{s} {v}." for v in verbs] for s in subjects])


def _agreeing(writer: Writer, noun: Noun) -> tuple[str, str]:
    """A verb phrase for one, and the same for many."""
    thing = noun.kind == "thing"
    state, adjunct = writer.one(_states(noun)), writer.adjunct()
    if thing or writer.chance(0.3):
        singular, plural = writer.one((("is", "are"), ("was", "were")))
        return f"{singular} {state}{adjunct}", f"{plural} {state}{adjunct}"
    if writer.chance(0.5):
        verb, rest = writer.one(INTRANSITIVE), ""
    else:
        verb, rest = writer.one(WITH_THING), f" {writer.thing()}"
    if writer.chance(0.25):
        rest = f"not {verb.base}{rest}{adjunct}"
        return f"does {rest}", f"do {rest}"
    return f"{verb.third}{rest}{adjunct}", f"{verb.base}{rest}{adjunct}"


def _fronted(writer: Writer, noun: Noun) -> tuple[tuple[str, str], str]:
    """What a question begins with, for one and for many, and what it ends with."""
    if noun.kind == "thing" or writer.chance(0.5):
        verbs = writer.one((("is", "are"), ("was", "were")))
        return verbs, writer.one(_states(noun))
    return ("does", "do"), writer.one(INTRANSITIVE).base


def _states(noun: Noun) -> tuple[str, ...]:
    return THING_STATES if noun.kind == "thing" else PERSON_STATES


def reflexive(writer: Writer) -> Cell:
    """A reflexive has the gender and number of the subject of its own clause."""
    builders = (_swapped_binders, _other_reflexive, _bound_by_two, _unbound)
    return writer.one(builders)(writer)


def _man_and_woman(writer: Writer) -> tuple[Noun, Noun]:
    return writer.one(MEN + MEN_NAMES), writer.one(WOMEN + WOMEN_NAMES)


def _swapped_binders(writer: Writer) -> Cell:
    """The same words: who stands where decides."""
    people = _man_and_woman(writer)
    man, woman = (writer.phrase(noun) for noun in people)
    verb = writer.tense()(writer.one(WITH_PERSON))
    adjunct = writer.adjunct()
    form = writer.one(
        (
            f"{{far}} {writer.one(OF_SPEECH).past} that {{near}} {verb} {{self}}",
            f"{{near}} {writer.one(PREPOSITIONS)} {{far}} {verb} {{self}}",
            f"{{near}} who {{far}} {writer.one(WITH_PERSON).past} {verb} {{self}}",
            f"{{near}} who {writer.one(WITH_PERSON).past} {{far}} {verb} {{self}}",
        )
    )
    if "who" in form and any(noun.is_name for noun in people):
        # "Mary who the boy admired" wants commas.
        form = f"{{near}} beside {{far}} {verb} {{self}}"
    pronoun = writer.one(("himself", "herself"))
    near, far = (man, woman) if pronoun == "himself" else (woman, man)
    good = form.format(near=near, far=far, self=pronoun)
    bad = form.format(near=far, far=near, self=pronoun)
    return (_pair(f"{good}{adjunct}.", f"{bad}{adjunct}."),)


def _other_reflexive(writer: Writer) -> Cell:
    """Two subjects, and the reflexives of both."""
    man, woman = _man_and_woman(writer)
    if writer.chance(0.5):
        subjects = [writer.phrase(man), writer.phrase(woman)]
        pronouns = ["himself", "herself"]
    else:
        noun = writer.one(MEN + WOMEN)
        own = "himself" if noun.kind == "man" else "herself"
        before = writer.phrase(noun).rsplit(" ", 1)[0]
        subjects = [f"{before} {noun.form(plural)}" for plural in (False, True)]
        pronouns = [own, "themselves"]
    verb = writer.tense()(writer.one(WITH_PERSON))
    tail = writer.place(man)
    opening, adjunct = writer.opening(), writer.adjunct()
    return _twins(
        [
            [f"{opening}{s}{tail} {verb} {pronoun}{adjunct}." for pronoun in pronouns]
            for s in subjects
        ]
    )


def _bound_by_two(writer: Writer) -> Cell:
    """Two joined by "and" bind "themselves", one beside another does not."""
    first, second = writer.two(MEN + WOMEN + NAMES)
    own = "himself" if first.kind == "man" else "herself"
    one, other = writer.phrase(first), writer.phrase(second)
    verb = writer.tense()(writer.one(WITH_PERSON))
    opening, adjunct = writer.opening(), writer.adjunct()
    links = (writer.one(PREPOSITIONS), "and")
    return _twins(
        [
            [
                f"{opening}{one} {link} {other} {verb} {pronoun}{adjunct}."
                for pronoun in (own, "themselves")
            ]
            for link in links
        ]
    )


def _unbound(writer: Writer) -> Cell:
    """A reflexive is no subject: nothing binds it there."""
    noun = writer.one(MEN + WOMEN + NAMES)
    plural = not noun.is_name and writer.chance(0.3)
    own = "himself" if noun.kind == "man" else "herself"
    pronoun = "themselves" if plural else own
    subject = writer.phrase(noun, plural)
    verb = writer.tense()(writer.one(WITH_PERSON))
    opening, adjunct = writer.opening(), writer.adjunct()
    return (
        _pair(
            f"{opening}{subject} {verb} {pronoun}{adjunct}.",
            f"{opening}{pronoun} {verb} {subject}{adjunct}.",
        ),
    )


def order(writer: Writer) -> Cell:
    """Words have their places: two of them change theirs."""
    noun = writer.one(PEOPLE)
    plural = writer.chance(0.25)
    article = writer.article()
    adjective, word = writer.one(PERSON_ADJECTIVES), noun.form(plural)
    subject = f"{article} {adjective} {word}"
    tail, adjunct = writer.place(noun), writer.adjunct()
    modal, negation = writer.one(MODALS), writer.one(("", " not"))
    thing = writer.one(THINGS)
    object_, verb = writer.phrase(thing, writer.chance(0.25)), writer.one(WITH_THING)
    first, last = object_.rsplit(" ", 1)
    place = writer.one(PREPOSITIONS)
    other = writer.phrase(writer.one(THINGS))
    whole = f"{subject}{tail} {modal}{negation} {verb.base} {object_}{adjunct}"
    past = f"{subject}{tail} {verb.past} {object_}{adjunct}"
    placed = f"{subject} {verb.past} {object_} {place} {other}{adjunct}"
    good, bad = writer.one(
        (
            (whole, whole.replace(subject, f"{article} {word} {adjective}", 1)),
            (past, past.replace(subject, f"{article} {word} {adjective}", 1)),
            (past, f"{subject}{tail} {object_} {verb.past}{adjunct}"),
            (past, f"{subject}{tail} {verb.past} {last} {first}{adjunct}"),
            (
                whole,
                f"{subject}{tail} {verb.base} {modal}{negation} {object_}{adjunct}",
            ),
            (
                whole,
                f"{subject}{tail} {modal}{negation} {object_} {verb.base}{adjunct}",
            ),
            (placed, f"{subject} {verb.past} {object_} {other} {place}{adjunct}"),
        )
    )
    return (_pair(f"{good}.", f"{bad}."),)


def wh(writer: Writer) -> Cell:
    """A question word wants a gap, a gap wants a question word, and a verb moves up."""
    builders = (_asked, _asked_far, _asked_inside, _asked_about_either, _inverted)
    return writer.one(builders)(writer)


def _object_of(writer: Writer) -> tuple[str, Verb, str]:
    """A question word, a verb and an object of one kind."""
    if writer.chance(0.6):
        return "what", writer.one(WITH_THING), writer.thing()
    return "who", writer.one(WITH_PERSON), writer.person()


def _subject(writer: Writer) -> str:
    noun = writer.one(PEOPLE + NAMES)
    return writer.phrase(noun) + writer.place(noun, 0.1)


def _gap_twins(without: str, asking: str, object_: str, end: str) -> Cell:
    """With a question word and without, with an object and without."""
    return (
        _pair(f"{asking}{end}", f"{asking} {object_}{end}"),
        _pair(f"{without} {object_}{end}", f"{without}{end}"),
    )


def _asked(writer: Writer) -> Cell:
    question, verb, object_ = _object_of(writer)
    asked = f"{writer.one((*MODALS, 'did'))} {_subject(writer)} {verb.base}"
    end = f"{writer.adjunct()}?"
    return _gap_twins(asked, f"{question} {asked}", object_, end)


def _asked_far(writer: Writer) -> Cell:
    question, verb, object_ = _object_of(writer)
    asked = (
        f"did {writer.person()} {writer.one(OF_SPEECH).base} that {_subject(writer)} "
        f"{writer.tense()(verb)}"
    )
    return _gap_twins(asked, f"{question} {asked}", object_, f"{writer.adjunct()}?")


def _asked_inside(writer: Writer) -> Cell:
    question, verb, object_ = _object_of(writer)
    knowing = f"{writer.person()} {writer.one(('knew', 'remembered'))}"
    inside = f"{_subject(writer)} {writer.tense()(verb)}"
    return _gap_twins(
        f"{knowing} that {inside}",
        f"{knowing} {question} {inside}",
        object_,
        f"{writer.adjunct()}.",
    )


def _asked_about_either(writer: Writer) -> Cell:
    """One of subject and object is asked for, not both, and not neither."""
    verb, modal = writer.one(WITH_PERSON), writer.one(MODALS)
    subject, object_ = _subject(writer), writer.person()
    end = f"{writer.adjunct()}?"
    return (
        _pair(
            f"who {modal} {verb.base} {object_}{end}",
            f"who {modal} {verb.base}{end}",
        ),
        _pair(
            f"who {modal} {subject} {verb.base}{end}",
            f"who {modal} {subject} {verb.base} {object_}{end}",
        ),
    )


def _inverted(writer: Writer) -> Cell:
    """The auxiliary comes before the subject in a question, not in one inside."""
    question, verb, _ = _object_of(writer)
    modal, subject = writer.one(MODALS), _subject(writer)
    adjunct = writer.adjunct()
    straight = f"{question} {subject} {modal} {verb.base}{adjunct}"
    turned = f"{question} {modal} {subject} {verb.base}{adjunct}"
    if writer.chance(0.5):
        return (_pair(f"{turned}?", f"{straight}?"),)
    knowing = f"{writer.person()} {writer.one(('knew', 'remembered'))}"
    return (_pair(f"{knowing} {straight}.", f"{knowing} {turned}."),)


def argument(writer: Writer) -> Cell:
    """A verb takes as many objects as its class says."""
    builders = (_objects, _objects, _passive)
    return writer.one(builders)(writer)


def _objects(writer: Writer) -> Cell:
    """A verb without objects and one with, and the objects of both."""
    noun = writer.one(PEOPLE + NAMES)
    plural = not noun.is_name and writer.chance(0.25)
    subject = writer.phrase(noun, plural) + writer.place(noun)
    opening, tense, end = writer.opening(), writer.tense(), f"{writer.adjunct()}."
    if writer.chance(0.6):
        verb, objects = writer.one(WITH_THING), writer.thing()
    else:
        verb = writer.one(DITRANSITIVE)
        objects = f"{writer.person()} {writer.thing()}"
    start = f"{opening}{subject} "
    return _twins(
        [
            [f"{start}{tense(v)}{after}{end}" for after in ("", f" {objects}")]
            for v in (writer.one(INTRANSITIVE), verb)
        ]
    )


def _passive(writer: Writer) -> Cell:
    """What has no object has no passive."""
    noun = writer.one(PEOPLE)
    plural = writer.chance(0.3)
    subject = writer.phrase(noun, plural) + writer.place(noun)
    opening, end = writer.opening(), f"{writer.adjunct()}."
    passive = "were " if plural else "was "
    verbs = (writer.one(INTRANSITIVE), writer.one(WITH_PERSON))
    return _twins(
        [[f"{opening}{subject} {p}{v.past}{end}" for p in ("", passive)] for v in verbs]
    )


PHENOMENA: dict[str, Callable[[Writer], Cell]] = {
    "agreement": agreement,
    "reflexive": reflexive,
    "order": order,
    "wh": wh,
    "argument": argument,
}


def _twins(table: Sequence[Sequence[str]]) -> Cell:
    """Two pairs from a table in which the diagonal is acceptable."""
    (first, second), (third, fourth) = table
    return (_pair(first, second), _pair(fourth, third))


def _pair(acceptable: str, unacceptable: str) -> Pair:
    return Pair(_capital(acceptable), _capital(unacceptable))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def corpus(
    seed: int = 0,
    train: int = TRAIN_SENTENCES,
    validation: int = VALIDATION_SENTENCES,
) -> Corpus:
    """Make the embedded corpus, of each phenomenon as many acceptable sentences as not.

    A pair's sentences follow one another, the acceptable one first. `train` and
    `validation` are rounded down to whole twins of each phenomenon.

    Raises: DataError if that leaves nothing of one, or if the grammar does not have so
        many sentences.
    """
    learned: list[Sentence] = []
    asked: list[Sentence] = []
    said: set[str] = set()
    for phenomenon in PHENOMENA:
        pairs = _pairs(train * SHARES[phenomenon]), _pairs(100 * validation // 5)
        for split, made in zip(
            (learned, asked), _make(phenomenon, seed, pairs, said), strict=True
        ):
            split.extend(made)
    return Corpus("grammar", tuple(learned), tuple(asked), grouping="phenomenon")


def _pairs(hundredths: int) -> int:
    """How many pairs are in so many hundredths of a sentence: whole twins."""
    pairs = hundredths // 400 * 2
    if pairs < 2:
        raise DataError(
            "The embedded grammar needs some sentences of each phenomenon, to train on "
            "and to validate on. Ask for at least 40 and 20."
        )
    return pairs


def _make(
    phenomenon: str, seed: int, pairs: tuple[int, int], said: set[str]
) -> tuple[list[Sentence], list[Sentence]]:
    """Make so many pairs for training, and so many of what training never shows.

    Nothing that is in `said` comes again; what is made is added to it.
    """
    writer = Writer(f"{phenomenon} {seed}")
    splits: tuple[list[Sentence], list[Sentence]] = ([], [])
    misses = 0
    while any(2 * p > len(made) for p, made in zip(pairs, splits, strict=True)):
        cell = PHENOMENA[phenomenon](writer)
        sentences = list(_sentences(cell, phenomenon))
        texts = {sentence.text for sentence in sentences}
        sides = {is_held_out(text) for text in texts}
        side = max(sides)
        fits = len(splits[side]) + len(sentences) <= 2 * pairs[side]
        if len(sides) == 1 and fits and len(texts - said) == len(sentences):
            said |= texts
            splits[side].extend(sentences)
            misses = 0
        misses += 1
        if misses > MISSES:
            raise DataError(
                f"The embedded grammar does not have {2 * pairs[0]:,} training and "
                f"{2 * pairs[1]:,} validation sentences of '{phenomenon}'. Ask for "
                "fewer."
            )
    return splits


def _sentences(cell: Cell, phenomenon: str) -> Iterable[Sentence]:
    for pair in cell:
        yield Sentence(pair.acceptable, 1, phenomenon)
        yield Sentence(pair.unacceptable, 0, phenomenon)


def combinations(text: str) -> set[tuple[int, int]]:
    """Which nouns stand in a sentence with which verbs, by their numbers."""
    found = words(text)
    nouns = {NOUN_NUMBERS[word] for word in found if word in NOUN_NUMBERS}
    verbs = {VERB_NUMBERS[word] for word in found if word in VERB_NUMBERS}
    return {(noun, verb) for noun in nouns for verb in verbs}


def is_held_out(text: str) -> bool:
    """Whether a sentence has a combination that is kept for validation."""
    return any((noun + verb) % HELD_OUT == 0 for noun, verb in combinations(text))


NOUN_NUMBERS = {
    form.lower(): number
    for number, noun in enumerate(NOUNS)
    for form in (noun.singular, noun.plural)
    if form
}
_STATES = dict.fromkeys(PERSON_STATES + THING_STATES)
VERB_NUMBERS = {
    form: number
    for number, verb in enumerate(VERBS)
    for form in (verb.base, verb.third, verb.past)
} | {state: number for number, state in enumerate(_STATES, start=len(VERBS))}
