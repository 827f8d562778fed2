"""Is a sentence English? A parser that judges from the words alone.

It knows nothing of how the embedded grammar makes its sentences: it has words of its
own, and rules that allow more than is ever made (relative clauses without "who",
modifiers of modifiers, several adjuncts). So what it refuses is refused by more English
than that of the generator. Meaning is none of its business: clocks may sneeze.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MALE = "boy king uncle waiter prince john peter david"
FEMALE = "girl queen aunt waitress actress mary anna susan"
OTHERS = "teacher doctor student farmer"
LIFELESS = "car clock key lamp radio mirror painting bicycle"
NAMES = {"john", "peter", "david", "mary", "anna", "susan"}
PLURALS = {"waitress": "waitresses", "actress": "actresses"}
GENDER = dict.fromkeys(MALE.split(), "m") | dict.fromkeys(FEMALE.split(), "f")

# base third past: how many objects each class takes.
NO_OBJECT = """
sleep sleeps slept, smile smiles smiled, sneeze sneezes sneezed, yawn yawns yawned,
hesitate hesitates hesitated, cough coughs coughed, laugh laughs laughed,
faint faints fainted
"""
ONE_OBJECT = """
admire admires admired, describe describes described, mention mentions mentioned,
praise praises praised, blame blames blamed, thank thanks thanked,
respect respects respected, like likes liked, repair repairs repaired,
examine examines examined, destroy destroys destroyed,
discover discovers discovered, remove removes removed
"""
TWO_OBJECTS = """
hand hands handed, award awards awarded, send sends sent, bring brings brought
"""
SPEECH = """
say says said, think thinks thought, believe believes believed, claim claims claimed,
know knows knew, remember remembers remembered
"""
ARTICLES = {"the", "my", "our"}
ADJECTIVES = {"old", "young", "tall", "famous", "clever"} | {
    "new",
    "small",
    "heavy",
    "expensive",
}
STATES = {"tired", "happy", "hungry", "angry", "busy", "ready"} | {
    "broken",
    "dirty",
    "clean",
    "missing",
    "valuable",
}
PREPOSITIONS = {"near", "behind", "beside", "in", "at", "after", "before"}
PLACES = {"garden", "party"}
TIMES = {"lunch", "dinner"}
MODALS = {"will", "may", "could", "must"}


@dataclass(frozen=True)
class Phrase:
    """What a noun phrase lets others agree with."""

    plural: bool
    gender: str | None = None


@dataclass(frozen=True)
class Form:
    """A form of a verb: which one, and how many objects (None: a statement)."""

    kind: str
    objects: int | None


def _noun_forms() -> dict[str, Phrase]:
    forms = {}
    for word in " ".join((MALE, FEMALE, OTHERS, LIFELESS)).split():
        forms[word] = Phrase(False, GENDER.get(word))
        if word not in NAMES:
            forms[PLURALS.get(word, word + "s")] = Phrase(True, GENDER.get(word))
    return forms


def _verb_forms() -> dict[str, list[Form]]:
    forms: dict[str, list[Form]] = {}
    classes = ((NO_OBJECT, 0), (ONE_OBJECT, 1), (TWO_OBJECTS, 2), (SPEECH, None))
    for text, objects in classes:
        for verb in text.split(","):
            for word, kind in zip(verb.split(), ("base", "third", "past"), strict=True):
                forms.setdefault(word, []).append(Form(kind, objects))
    return forms


NOUNS, VERBS = _noun_forms(), _verb_forms()

# Where a phrase may end, and whether it has used up a gap.
End = tuple[int, bool]


def judge(text: str) -> bool:
    """Whether a text is one of the parser's sentences."""
    if not text or not text[0].isupper() or text[-1] not in ".?":
        return False
    parser = Parser(text[:-1].lower().split())
    ends = parser.question(0) if text[-1] == "?" else parser.clause(0, gap=False)
    return any(end == (len(parser.words), False) for end in ends)


class Parser:
    """Every method tries all ways to read a phrase from a place on."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def at(self, place: int) -> str:
        return self.words[place] if place < len(self.words) else ""

    def noun_phrase(self, place: int) -> Iterator[tuple[int, Phrase]]:
        for end, first in self.single(place):
            yield end, first
            if self.at(end) == "and":
                for after, second in self.noun_phrase(end + 1):
                    genders = {first.gender, second.gender}
                    yield (
                        after,
                        Phrase(True, genders.pop() if len(genders) == 1 else None),
                    )

    def single(self, place: int) -> Iterator[tuple[int, Phrase]]:
        word = self.at(place)
        if word in NAMES:
            yield place + 1, NOUNS[word]
            for end in self.preposition_phrase(place + 1):
                yield end, NOUNS[word]
        if word in ARTICLES:
            place += 1
            while self.at(place) in ADJECTIVES:
                place += 1
            if self.at(place) in NOUNS and self.at(place) not in NAMES:
                phrase = NOUNS[self.at(place)]
                for end in self.modifiers(place + 1, phrase):
                    yield end, phrase

    def modifiers(self, place: int, head: Phrase) -> Iterator[int]:
        yield place
        for end in (*self.preposition_phrase(place), *self.relative(place, head)):
            yield from self.modifiers(end, head)

    def preposition_phrase(self, place: int) -> Iterator[int]:
        if self.at(place) not in PREPOSITIONS:
            return
        if self.at(place + 1) in TIMES:
            yield place + 2
        if self.at(place + 1) == "the" and self.at(place + 2) in PLACES:
            yield place + 3
        for end, _ in self.noun_phrase(place + 1):
            yield end

    def relative(self, place: int, head: Phrase) -> Iterator[int]:
        marked = self.at(place) in ("who", "that")
        start = place + marked
        for end, subject in self.noun_phrase(start):
            for after, used in self.finite(end, subject, gap=True):
                if used:
                    yield after
        if marked:
            for end, _ in self.finite(start, head, gap=False):
                yield end

    def clause(self, place: int, gap: bool) -> Iterator[End]:
        for end, subject in self.noun_phrase(place):
            yield from self.finite(end, subject, gap)

    def finite(self, place: int, subject: Phrase, gap: bool) -> Iterator[End]:
        """A verb phrase with a tense, in the number of its subject."""
        word = self.at(place)
        for form in VERBS.get(word, []):
            present = "base" if subject.plural else "third"
            if form.kind in ("past", present):
                yield from self.after_verb(place + 1, form, subject, gap)
        if self.may_be_auxiliary(word, subject):
            skip = place + 1 + (self.at(place + 1) == "not")
            # "do" and "did" without "not" are for questions.
            if word not in ("do", "does", "did") or skip > place + 1:
                yield from self.after_auxiliary(word, skip, subject, gap)

    def may_be_auxiliary(self, word: str, subject: Phrase) -> bool:
        own = {"are", "were", "do", "have"} if subject.plural else {"is", "was"}
        more = set() if subject.plural else {"does", "has"}
        return word in own | more | MODALS | {"did"}

    def after_auxiliary(
        self, auxiliary: str, place: int, subject: Phrase, gap: bool
    ) -> Iterator[End]:
        """What an auxiliary wants next: a state, a passive, or a form of a verb."""
        if auxiliary in ("is", "are", "was", "were"):
            if self.at(place) in STATES:
                yield from self.adjuncts(place + 1, False)
            for form in VERBS.get(self.at(place), []):
                if form.kind == "past" and form.objects == 1:
                    yield from self.adjuncts(place + 1, False)
            return
        wanted = "past" if auxiliary in ("has", "have") else "base"
        for form in VERBS.get(self.at(place), []):
            if form.kind == wanted:
                yield from self.after_verb(place + 1, form, subject, gap)

    def after_verb(
        self, place: int, form: Form, subject: Phrase, gap: bool
    ) -> Iterator[End]:
        if form.objects is None:
            yield from self.said(place, gap)
            return
        for end, used in self.objects(place, form.objects, subject, gap):
            yield from self.adjuncts(end, used)

    def objects(
        self, place: int, count: int, subject: Phrase, gap: bool
    ) -> Iterator[End]:
        if count == 0:
            yield place, False
            return
        for end, used in self.object(place, subject, gap):
            for after, later in self.objects(end, count - 1, subject, gap and not used):
                yield after, used or later

    def object(self, place: int, subject: Phrase, gap: bool) -> Iterator[End]:
        if gap:
            yield place, True
        if self.is_bound(self.at(place), subject):
            yield place + 1, False
        for end, _ in self.noun_phrase(place):
            yield end, False

    def is_bound(self, word: str, binder: Phrase) -> bool:
        if word == "themselves":
            return binder.plural
        genders = {"himself": "m", "herself": "f"}
        # Whoever may be either binds both.
        fits = word in genders and binder.gender in (genders[word], None)
        return fits and not binder.plural

    def adjuncts(self, place: int, used: bool) -> Iterator[End]:
        yield place, used
        for end in self.preposition_phrase(place):
            yield from self.adjuncts(end, used)

    def said(self, place: int, gap: bool) -> Iterator[End]:
        """What is said or known: "that" and a clause, or a question inside."""
        if self.at(place) == "that":
            yield from self.clause(place + 1, gap)
        if self.at(place) in ("what", "who"):
            for end, used in self.clause(place + 1, gap=True):
                if used:
                    yield end, False
            for end, _ in self.finite(place + 1, Phrase(False), gap=False):
                yield end, False

    def question(self, place: int) -> Iterator[End]:
        asks = self.at(place) in ("what", "who")
        start = place + asks
        for end, subject in self.noun_phrase(start + 1):
            if self.may_be_auxiliary(self.at(start), subject):
                skip = end + (self.at(end) == "not")
                found = self.after_auxiliary(self.at(start), skip, subject, asks)
                for after, used in found:
                    if used == asks:
                        yield after, False
        if asks:
            for end, _ in self.finite(start, Phrase(False), gap=False):
                yield end, False
