"""The embedded grammar: minimal pairs of a small English, with no download.

A pair is an acceptable sentence and an unacceptable one that differs in a word, or in
the order of the words. Five phenomena:

    agreement        The keys near the lamp are / *is dirty.
    reflexive        The girl said that the boy blamed himself / *herself.
    order            The old teacher slept. / *The teacher old slept.
    wh               What will the boy repair? / *What will the boy repair the car?
    argument         The boy yawned. / *The boy yawned the car.

A pair whose words differ has a twin in which they differ the other way round ("The key
near the lamps is / *are dirty."): no word, and no sum over words, tells which is which.
Validation has combinations of a noun and a verb (or an adjective after "is") that stand
in no training sentence together.
"""

from __future__ import annotations

from collections.abc import Callable

from apps.cola import lexicon as lex
from apps.cola.lexicon import Cell, Noun, Verb, Writer, pair, twins
from apps.cola.reading import words
from apps.cola.sentences import Corpus, DataError, Sentence

TRAIN_SENTENCES = 20_000
VALIDATION_SENTENCES = 1_000

# Of 100 training sentences. What depends on distant words takes more to learn than what
# neighbours tell.
SHARES = {"agreement": 30, "reflexive": 22, "order": 10, "wh": 19, "argument": 19}

MISSES = 20_000  # useless cells in a row, after which the grammar is exhausted
HELD_OUT = 8  # one in so many combinations of a noun and a verb is for validation

KNOWING = ("knew", "remembered")
REFLEXIVES = {"man": "himself", "woman": "herself"}


def agreement(writer: Writer) -> Cell:
    """The verb has the number of its subject, not that of a noun nearby."""
    if writer.chance(0.2):
        return _agreement_of_two(writer)
    noun = writer.choice(lex.THINGS if writer.chance(0.4) else lex.PEOPLE)
    subjects, tail = writer.numbers(noun), writer.tail(noun)
    if writer.chance(0.1):
        auxiliaries, rest = _fronted(writer, noun)
        return twins(lambda s, a: f"{a} {s}{tail} {rest}?", subjects, auxiliaries)
    opening, verbs = writer.opening(), _agreeing(writer, noun)
    return twins(lambda s, v: f"{opening}{s}{tail} {v}.", subjects, verbs)


def _agreement_of_two(writer: Writer) -> Cell:
    """Two joined by "and" are many, one beside another is one."""
    first, second = writer.sample(lex.PEOPLE + lex.NAMES, 2)
    opening, verbs = writer.opening(), _agreeing(writer, first)
    one, other = writer.phrase(first), writer.phrase(second)
    links = (writer.choice(lex.PREPOSITIONS), "and")
    return twins(lambda s, v: f"{opening}{one} {s} {other} {v}.", links, verbs)


def _agreeing(writer: Writer, noun: Noun) -> tuple[str, str]:
    """A verb phrase for one, and the same for many."""
    rest, adjunct = writer.choice(noun.states), writer.adjunct()
    if noun.kind == "thing" or writer.chance(0.3):
        forms = writer.choice((("is", "are"), ("was", "were")))
    else:
        if writer.chance(0.5):
            verb, rest = writer.choice(lex.INTRANSITIVE), ""
        else:
            verb, rest = writer.choice(lex.WITH_THING), writer.thing()
        forms = verb.third, verb.base
        if writer.chance(0.25):
            forms = f"does not {verb.base}", f"do not {verb.base}"
    singular, plural = (f"{form} {rest}".rstrip() + adjunct for form in forms)
    return singular, plural


def _fronted(writer: Writer, noun: Noun) -> tuple[tuple[str, str], str]:
    """What a question begins with, for one and for many, and what it ends with."""
    if noun.kind == "thing" or writer.chance(0.5):
        verbs = writer.choice((("is", "are"), ("was", "were")))
        return verbs, writer.choice(noun.states)
    return ("does", "do"), writer.choice(lex.INTRANSITIVE).base


def reflexive(writer: Writer) -> Cell:
    """A reflexive has the gender and number of the subject of its own clause."""
    builders = (_swapped_binders, _other_reflexive, _bound_by_two, _unbound)
    return writer.choice(builders)(writer)


def _man_and_woman(writer: Writer) -> tuple[Noun, Noun]:
    man = writer.choice(lex.MEN + lex.MEN_NAMES)
    return man, writer.choice(lex.WOMEN + lex.WOMEN_NAMES)


def _swapped_binders(writer: Writer) -> Cell:
    """The same words: who stands where decides."""
    people = _man_and_woman(writer)
    man, woman = (writer.phrase(noun) for noun in people)
    verb = writer.tense()(writer.choice(lex.WITH_PERSON))
    adjunct = writer.adjunct()
    forms = (
        f"{{far}} {writer.choice(lex.OF_SPEECH).past} that {{near}}",
        f"{{near}} {writer.choice(lex.PREPOSITIONS)} {{far}}",
        f"{{near}} who {{far}} {writer.choice(lex.WITH_PERSON).past}",
        f"{{near}} who {writer.choice(lex.WITH_PERSON).past} {{far}}",
    )
    form = writer.choice(forms)
    if "who" in form and any(noun.is_name for noun in people):
        # "Mary who the boy admired" wants commas.
        form = "{near} beside {far}"
    pronoun = writer.choice(("himself", "herself"))
    near, far = (man, woman) if pronoun == "himself" else (woman, man)
    good, bad = form.format(near=near, far=far), form.format(near=far, far=near)
    end = f"{verb} {pronoun}{adjunct}."
    return (pair(f"{good} {end}", f"{bad} {end}"),)


def _other_reflexive(writer: Writer) -> Cell:
    """Two subjects, and the reflexives of both."""
    man, woman = _man_and_woman(writer)
    if writer.chance(0.5):
        subjects = [writer.phrase(man), writer.phrase(woman)]
        pronouns = ["himself", "herself"]
    else:
        noun = writer.choice(lex.MEN + lex.WOMEN)
        subjects = writer.numbers(noun)
        pronouns = [REFLEXIVES[noun.kind], "themselves"]
    verb = writer.tense()(writer.choice(lex.WITH_PERSON))
    tail = writer.place(man)
    opening, adjunct = writer.opening(), writer.adjunct()
    return twins(
        lambda s, p: f"{opening}{s}{tail} {verb} {p}{adjunct}.", subjects, pronouns
    )


def _bound_by_two(writer: Writer) -> Cell:
    """Two joined by "and" bind "themselves", one beside another does not."""
    first, second = writer.sample(lex.MEN + lex.WOMEN + lex.NAMES, 2)
    one, other = writer.phrase(first), writer.phrase(second)
    verb = writer.tense()(writer.choice(lex.WITH_PERSON))
    opening, adjunct = writer.opening(), writer.adjunct()
    links = (writer.choice(lex.PREPOSITIONS), "and")
    return twins(
        lambda s, p: f"{opening}{one} {s} {other} {verb} {p}{adjunct}.",
        links,
        (REFLEXIVES[first.kind], "themselves"),
    )


def _unbound(writer: Writer) -> Cell:
    """A reflexive is no subject: nothing binds it there."""
    noun = writer.choice(lex.MEN + lex.WOMEN + lex.NAMES)
    plural = not noun.is_name and writer.chance(0.3)
    pronoun = "themselves" if plural else REFLEXIVES[noun.kind]
    subject = writer.phrase(noun, plural)
    verb = writer.tense()(writer.choice(lex.WITH_PERSON))
    opening, adjunct = writer.opening(), writer.adjunct()
    good = f"{opening}{subject} {verb} {pronoun}{adjunct}."
    return (pair(good, f"{opening}{pronoun} {verb} {subject}{adjunct}."),)


def order(writer: Writer) -> Cell:
    """Words have their places: two of them change theirs."""
    noun, plural = writer.choice(lex.PEOPLE), writer.chance(0.25)
    article = writer.article()
    adjective, word = writer.choice(lex.PERSON_ADJECTIVES), noun.form(plural)
    subject, turned = f"{article} {adjective} {word}", f"{article} {word} {adjective}"
    tail, adjunct = writer.place(noun), writer.adjunct()
    modal = writer.choice(lex.MODALS) + writer.choice(("", " not"))
    object_, verb = writer.thing(), writer.choice(lex.WITH_THING)
    first, last = object_.rsplit(" ", 1)
    place = writer.choice(lex.PREPOSITIONS)
    other = writer.phrase(writer.choice(lex.THINGS))
    whole = f"{tail} {modal} {verb.base} {object_}"
    past = f"{tail} {verb.past} {object_}"
    placed = f" {verb.past} {object_}"
    good, bad = writer.choice(
        (
            (whole, f"{turned}{whole}"),
            (past, f"{turned}{past}"),
            (past, f"{subject}{tail} {object_} {verb.past}"),
            (past, f"{subject}{tail} {verb.past} {last} {first}"),
            (whole, f"{subject}{tail} {verb.base} {modal} {object_}"),
            (whole, f"{subject}{tail} {modal} {object_} {verb.base}"),
            (f"{placed} {place} {other}", f"{subject}{placed} {other} {place}"),
        )
    )
    return (pair(f"{subject}{good}{adjunct}.", f"{bad}{adjunct}."),)


def wh(writer: Writer) -> Cell:
    """A question word wants a gap, a gap wants a question word, and a verb moves up."""
    builders = (_asked, _asked_far, _asked_inside, _asked_about_either, _inverted)
    return writer.choice(builders)(writer)


def _object_of(writer: Writer) -> tuple[str, Verb, str]:
    """A question word, a verb and an object of one kind."""
    if writer.chance(0.6):
        return "what", writer.choice(lex.WITH_THING), writer.thing()
    return "who", writer.choice(lex.WITH_PERSON), writer.person()


def _gap_twins(without: str, asking: str, object_: str, end: str) -> Cell:
    """With a question word and without, with an object and without."""
    starts, rests = (asking, without), ("", f" {object_}")
    return twins(lambda start, rest: f"{start}{rest}{end}", starts, rests)


def _asked(writer: Writer) -> Cell:
    question, verb, object_ = _object_of(writer)
    auxiliary = writer.choice((*lex.MODALS, "did"))
    asked = f"{auxiliary} {writer.subject()} {verb.base}"
    end = f"{writer.adjunct()}?"
    return _gap_twins(asked, f"{question} {asked}", object_, end)


def _asked_far(writer: Writer) -> Cell:
    question, verb, object_ = _object_of(writer)
    saying = f"{writer.person()} {writer.choice(lex.OF_SPEECH).base}"
    asked = f"did {saying} that {writer.subject()} {writer.tense()(verb)}"
    return _gap_twins(asked, f"{question} {asked}", object_, f"{writer.adjunct()}?")


def _asked_inside(writer: Writer) -> Cell:
    question, verb, object_ = _object_of(writer)
    knowing = f"{writer.person()} {writer.choice(KNOWING)}"
    inside = f"{writer.subject()} {writer.tense()(verb)}"
    statement, asking = (f"{knowing} {link} {inside}" for link in ("that", question))
    return _gap_twins(statement, asking, object_, f"{writer.adjunct()}.")


def _asked_about_either(writer: Writer) -> Cell:
    """One of subject and object is asked for, not both, and not neither."""
    verb, modal = writer.choice(lex.WITH_PERSON), writer.choice(lex.MODALS)
    subject, object_ = writer.subject(), writer.person()
    end = f"{writer.adjunct()}?"
    return twins(
        lambda subject, rest: f"who {modal}{subject} {verb.base}{rest}{end}",
        ("", f" {subject}"),
        (f" {object_}", ""),
    )


def _inverted(writer: Writer) -> Cell:
    """The auxiliary comes before the subject in a question, not in one inside."""
    question, verb, _ = _object_of(writer)
    modal, subject = writer.choice(lex.MODALS), writer.subject()
    end = f"{verb.base}{writer.adjunct()}"
    straight = f"{question} {subject} {modal} {end}"
    turned = f"{question} {modal} {subject} {end}"
    if writer.chance(0.5):
        return (pair(f"{turned}?", f"{straight}?"),)
    knowing = f"{writer.person()} {writer.choice(KNOWING)}"
    return (pair(f"{knowing} {straight}.", f"{knowing} {turned}."),)


def argument(writer: Writer) -> Cell:
    """A verb takes as many objects as its class says."""
    return writer.choice((_objects, _objects, _passive))(writer)


def _objects(writer: Writer) -> Cell:
    """A verb without objects and one with, and the objects of both."""
    noun = writer.choice(lex.PEOPLE + lex.NAMES)
    plural = not noun.is_name and writer.chance(0.25)
    subject = writer.phrase(noun, plural) + writer.place(noun)
    opening, tense, end = writer.opening(), writer.tense(), f"{writer.adjunct()}."
    if writer.chance(0.6):
        verb, objects = writer.choice(lex.WITH_THING), writer.thing()
    else:
        verb = writer.choice(lex.DITRANSITIVE)
        objects = f"{writer.person()} {writer.thing()}"
    return twins(
        lambda v, after: f"{opening}{subject} {tense(v)}{after}{end}",
        (writer.choice(lex.INTRANSITIVE), verb),
        ("", f" {objects}"),
    )


def _passive(writer: Writer) -> Cell:
    """What has no object has no passive."""
    noun = writer.choice(lex.PEOPLE)
    plural = writer.chance(0.3)
    subject = writer.phrase(noun, plural) + writer.place(noun)
    opening, end = writer.opening(), f"{writer.adjunct()}."
    verbs = (writer.choice(lex.INTRANSITIVE), writer.choice(lex.WITH_PERSON))
    return twins(
        lambda v, passive: f"{opening}{subject} {passive}{v.past}{end}",
        verbs,
        ("", "were " if plural else "was "),
    )


PHENOMENA: dict[str, Callable[[Writer], Cell]] = {
    "agreement": agreement,
    "reflexive": reflexive,
    "order": order,
    "wh": wh,
    "argument": argument,
}


def corpus(
    seed: int = 0, train: int = TRAIN_SENTENCES, validation: int = VALIDATION_SENTENCES
) -> Corpus:
    """Make the embedded corpus, of each phenomenon as many acceptable sentences as not.

    A pair's sentences follow one another, the acceptable one first. `train` and
    `validation` are rounded down to whole twins of each phenomenon.

    Raises: DataError if that leaves none of one, or the grammar has not so many.
    """
    splits: tuple[list[Sentence], list[Sentence]] = ([], [])
    said: set[str] = set()
    for phenomenon, share in SHARES.items():
        counts = _count(train * share), _count(100 * validation // 5)
        made = _make(phenomenon, seed, counts, said)
        for split, sentences in zip(splits, made, strict=True):
            split.extend(sentences)
    learned, asked = map(tuple, splits)
    return Corpus("grammar", learned, asked, grouping="phenomenon")


def _count(hundredths: int) -> int:
    count = hundredths // 400 * 4  # whole twins
    if not count:
        raise DataError(
            "The embedded grammar needs some sentences of each phenomenon in both "
            "splits. Ask for at least 40 and 20."
        )
    return count


def _make(
    phenomenon: str, seed: int, counts: tuple[int, int], said: set[str]
) -> tuple[list[Sentence], list[Sentence]]:
    """Make training and validation sentences, none of `said`, and add them to it."""
    writer = Writer(f"{phenomenon} {seed}")
    splits: tuple[list[Sentence], list[Sentence]] = ([], [])
    misses = 0
    while any(n > len(made) for n, made in zip(counts, splits, strict=True)):
        sentences = [
            Sentence(text, label, phenomenon)
            for two in PHENOMENA[phenomenon](writer)
            for label, text in ((1, two.acceptable), (0, two.unacceptable))
        ]
        texts = {sentence.text for sentence in sentences}
        sides = {is_held_out(text) for text in texts}
        side = max(sides)
        fits = len(splits[side]) + len(sentences) <= counts[side]
        misses += 1
        if len(sides) == 1 and fits and len(texts - said) == len(sentences):
            said |= texts
            splits[side].extend(sentences)
            misses = 0
        if misses > MISSES:
            raise DataError(
                f"The embedded grammar does not have {counts[0]:,} training and "
                f"{counts[1]:,} validation sentences of '{phenomenon}'. Ask for fewer."
            )
    return splits


def is_held_out(text: str) -> bool:
    """Whether a noun and a verb stand in it whose combination is for validation."""
    found = words(text)
    nouns = {lex.NOUN_NUMBERS[word] for word in found if word in lex.NOUN_NUMBERS}
    verbs = {lex.VERB_NUMBERS[word] for word in found if word in lex.VERB_NUMBERS}
    return any((noun + verb) % HELD_OUT == 0 for noun in nouns for verb in verbs)
