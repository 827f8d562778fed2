"""Random phrases and minimal pairs of the embedded grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple, TypeVar

from apps.cola import lexicon as lex
from apps.cola.lexicon import Noun, Verb

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
        adjectives = lex.THING_ADJECTIVES if thing else lex.PERSON_ADJECTIVES
        extra = f"{self.choice(adjectives)} " if self.chance(0.1) else ""
        return f"{self.article()} {extra}{noun.form(plural)}"

    def person(self) -> str:
        """Somebody."""
        return self.phrase(self.choice(lex.PEOPLE + lex.NAMES), self.chance(0.25))

    def thing(self) -> str:
        """Something."""
        return self.phrase(self.choice(lex.THINGS), self.chance(0.25))

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
        return f" {self.choice(lex.PREPOSITIONS)} {other}"

    def tail(self, noun: Noun) -> str:
        """What may follow a noun: nothing, a place, or a relative clause."""
        if self.chance(0.75):
            return self.place(noun, 0.4)
        if noun.kind == "thing":
            return f" that {self.person()} {self.choice(lex.WITH_THING).past}"
        if self.chance(0.5):
            return f" who {self.person()} {self.choice(lex.WITH_PERSON).past}"
        return f" who {self.choice(lex.WITH_PERSON).past} {self.person()}"

    def subject(self) -> str:
        """Somebody, and perhaps where."""
        noun = self.choice(lex.PEOPLE + lex.NAMES)
        return self.phrase(noun) + self.place(noun, 0.1)

    def tense(self) -> Callable[[Verb], str]:
        """A tense that goes with every subject."""
        kind = self.choice(("past", "past", "did", "modal"))
        modal = self.choice(lex.MODALS)
        if kind == "past":
            return lambda verb: verb.past
        auxiliary = "did not" if kind == "did" else modal
        return lambda verb: f"{auxiliary} {verb.base}"

    def adjunct(self) -> str:
        """What may follow a verb phrase."""
        return f" {self.choice(lex.ADJUNCTS)}" if self.chance(0.08) else ""

    def opening(self) -> str:
        """What may stand before a statement."""
        if self.chance(0.93):
            return ""
        return f"{self.person()} {self.choice(lex.OF_SPEECH).past} that "
