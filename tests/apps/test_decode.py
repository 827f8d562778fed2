"""Do greedy decoding, sampling and beam search say what they promise to say?

The networks here are tables of random scores that depend on the whole text so far, so
a state that is handed to the wrong text is noticed. The oracles are written without
arrays, a text at a time.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.captioning import decode, layout, sample
from apps.captioning.decode import Decoding, SpecialIds
from apps.captioning.model import Captioner, special_ids
from apps.captioning.train import Settings, Trained, build

NULL, START, END, UNKNOWN = range(4)
IDS = SpecialIds(NULL, START, END, never=(NULL, START, UNKNOWN))
Text = tuple[int, ...]


class Table:
    """A network of random scores; the state of a text is all that was said before."""

    def __init__(self, seed: int, vocabulary: int, spread: float = 1.0) -> None:
        self.seed, self.vocabulary, self.spread = seed, vocabulary, spread
        self.calls = 0

    def scores(self, picture: int, text: Text) -> np.ndarray:
        rng = np.random.default_rng([self.seed, picture, *text])
        return self.spread * rng.normal(size=self.vocabulary)

    def log_p(self, picture: int, text: Text) -> dict[int, float]:
        """The log-probability of each word that may come next."""
        scores = self.scores(picture, (START, *text)).tolist()
        allowed = {w: s for w, s in enumerate(scores) if w not in IDS.never}
        total = math.log(math.fsum(map(math.exp, allowed.values())))
        return {w: s - total for w, s in allowed.items()}

    def first(self, pictures: list[int]) -> Any:
        """States in a form that has every kind of container."""
        told = np.zeros((len(pictures), 0), dtype=int)
        return {"told": [told], "picture": (np.array(pictures),)}

    def step(self, state: Any, words: np.ndarray) -> tuple[Any, np.ndarray]:
        self.calls += 1
        told = np.column_stack([state["told"][0], words])
        pictures = state["picture"][0]
        rows = zip(pictures.tolist(), told.tolist(), strict=True)
        scores = np.array([self.scores(p, tuple(t)) for p, t in rows])
        return {"told": [told], "picture": (pictures,)}, scores

    def greedy(self, pictures: list[int], length: int) -> np.ndarray:
        state = self.first(pictures)
        return decode.greedy(self.step, state, len(pictures), length, IDS)

    def sample(self, pictures: list[int], length: int, **options: Any) -> np.ndarray:
        draws = decode.uniform_draws(self.seed, pictures, length)
        return decode.sample(
            self.step, self.first(pictures), draws, IDS, Decoding(**options)
        )

    def beam(
        self, pictures: list[int], length: int, size: int, penalty: float = 0.0
    ) -> np.ndarray:
        how = Decoding(beam_size=size, length_penalty=penalty)
        state = self.first(pictures)
        return decode.beam(self.step, state, len(pictures), length, IDS, how)


def padded(text: Text, length: int) -> list[int]:
    return [*text, *[NULL] * (length - len(text))]


def worth(scored: tuple[Text, float], penalty: float) -> float:
    text, log_p = scored
    return log_p / len(text) ** penalty


def is_finished(text: Text) -> bool:
    return text[-1:] == (END,)


def slow_beam(
    table: Table, picture: int, length: int, size: int, penalty: float
) -> tuple[Text, int]:
    """Beam search to the greatest length, and when it could have been stopped."""
    kept: list[tuple[Text, float]] = [((), 0.0)]
    could_stop = length
    for t in range(1, length + 1):
        finished = [k for k in kept if is_finished(k[0])]
        longer = [
            ((*text, word), so_far + log_p)
            for text, so_far in kept
            if not is_finished(text)
            for word, log_p in table.log_p(picture, text).items()
        ]
        grown = sorted(finished + longer, key=lambda k: -worth(k, penalty))
        kept = grown[:size]
        best = max((worth(k, penalty) for k in kept if is_finished(k[0])), default=None)
        rest = [p / length**penalty for text, p in kept if not is_finished(text)]
        if best is not None and all(p <= best for p in rest):
            could_stop = min(could_stop, t)
    return kept[0][0], could_stop


def every_text(table: Table, picture: int, length: int) -> list[tuple[Text, float]]:
    """Each text that can be said, with its log-probability."""
    words = [w for w in range(table.vocabulary) if w not in (*IDS.never, END)]
    texts: list[Text] = [
        (*body, END)
        for n in range(length)
        for body in itertools.product(words, repeat=n)
    ]
    texts += itertools.product(words, repeat=length)
    return [
        (text, sum(table.log_p(picture, text[:i])[w] for i, w in enumerate(text)))
        for text in texts
    ]


tables = st.builds(
    Table,
    seed=st.integers(0, 2**32 - 1),
    vocabulary=st.integers(5, 9),
    spread=st.sampled_from([0.3, 1.0, 3.0]),
)
lengths = st.integers(1, 6)
penalties = st.sampled_from([0.0, 0.0, 0.7, 1.0, 2.0])


@given(tables, lengths)
def test_greedy_is_the_likeliest_word_each_time(table: Table, length: int) -> None:
    said = table.greedy([0, 1, 2], length)
    for picture, row in enumerate(said.tolist()):
        text: Text = ()
        while len(text) < length and not is_finished(text):
            chances = table.log_p(picture, text)
            text = (*text, max(chances, key=lambda w: chances[w]))
        assert row == padded(text, length)


@given(tables, lengths, st.integers(1, 5), penalties)
def test_stopping_early_gives_what_running_to_the_greatest_length_gives(
    table: Table, length: int, size: int, penalty: float
) -> None:
    for picture in (0, 1):
        expected, could_stop = slow_beam(table, picture, length, size, penalty)
        table.calls = 0
        said = table.beam([picture], length, size, penalty)
        assert said.tolist() == [padded(expected, length)]
        assert table.calls == could_stop


@given(tables, lengths, st.integers(1, 5), penalties)
def test_beams_of_pictures_side_by_side_do_not_mix(
    table: Table, length: int, size: int, penalty: float
) -> None:
    said = table.beam([5, 0, 7, 3], length, size, penalty)
    alone = [table.beam([p], length, size, penalty)[0] for p in (5, 0, 7, 3)]
    np.testing.assert_array_equal(said, alone)


@given(tables.filter(lambda t: t.vocabulary <= 7), st.integers(1, 4), penalties)
def test_a_beam_as_wide_as_all_texts_finds_the_best(
    table: Table, length: int, penalty: float
) -> None:
    texts = every_text(table, 0, length)
    assert math.fsum(math.exp(p) for _, p in texts) == pytest.approx(1)
    best, _ = max(texts, key=lambda scored: worth(scored, penalty))
    said = table.beam([0], length, len(texts), penalty)
    assert said.tolist() == [padded(best, length)]


@given(tables, lengths)
def test_a_single_beam_is_greedy(table: Table, length: int) -> None:
    pictures = [3, 1, 4]
    expected = table.greedy(pictures, length)
    np.testing.assert_array_equal(table.beam(pictures, length, 1), expected)


def test_the_rule_saves_steps_and_a_wider_beam_finds_better_texts() -> None:
    table = Table(seed=1, vocabulary=9)
    greedy = np.concatenate([table.greedy([p], 20) for p in range(50)])
    table.calls = 0
    wide = np.concatenate([table.beam([p], 20, 8) for p in range(50)])
    assert table.calls < 50 * 20 / 2
    better = worse = 0
    for picture, rows in enumerate(zip(greedy.tolist(), wide.tolist(), strict=True)):
        old, new = (said_log_p(table, picture, row) for row in rows)
        better += new > old + 1e-9
        worse += new < old - 1e-9
    assert better > 10 * worse


def said_log_p(table: Table, picture: int, row: list[int]) -> float:
    text = tuple(row[: row.index(END) + 1] if END in row else row)
    return sum(table.log_p(picture, text[:i])[word] for i, word in enumerate(text))


def constant_step(scores: list[float], state: Any, words: np.ndarray) -> Any:
    return state, np.tile(scores, (len(words), 1))


def test_of_equally_likely_texts_the_finished_one_is_final() -> None:
    """After the first word, both ending and going on for ever are certain."""

    def step(told: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        told = np.column_stack([told, words])
        scores = np.full((len(words), 6), -np.inf)
        for row, text in zip(scores, told.tolist(), strict=True):
            if text == [START]:
                row[[4, 5]] = 0.0
            else:
                row[END if text[1] == 5 else 4] = 0.0
        return told, scores

    steps = []

    def counted(state: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps.append(len(words))
        return step(state, words)

    said = decode.beam(counted, np.zeros((1, 0), int), 1, 6, IDS, Decoding(beam_size=3))
    assert said.tolist() == [[5, END, NULL, NULL, NULL, NULL]]
    assert steps == [1, 2]


def test_equal_words_are_said_in_the_vocabularys_order() -> None:
    step = partial(constant_step, [9.0, 9, -9, 9, 1, 1, 1])
    state = np.zeros((2, 1))
    for said in (
        decode.greedy(step, state, 2, 3, IDS),
        decode.beam(step, state, 2, 3, IDS, Decoding(beam_size=2)),
        decode.sample(step, state, np.full((2, 3), 0.999), IDS, Decoding(top_k=1)),
    ):
        assert said.tolist() == [[4, 4, 4]] * 2


@given(tables, lengths, st.sampled_from([1e-300, 1e-12]))
def test_sampling_without_warmth_is_greedy(
    table: Table, length: int, temperature: float
) -> None:
    pictures = [2, 0, 9]
    expected = table.greedy(pictures, length)
    cold = table.sample(pictures, length, temperature=temperature)
    np.testing.assert_array_equal(cold, expected)
    single = table.sample(pictures, length, temperature=5.0, top_k=1)
    np.testing.assert_array_equal(single, expected)


# A value that chi-square with 4 degrees of freedom exceeds once in 10,000 times.
CHI_SQUARE = 23.51


@pytest.mark.parametrize(
    ("temperature", "top_k"),
    [(1.0, None), (0.5, None), (2.0, None), (1.0, 3), (0.7, 8)],
)
def test_words_are_drawn_as_often_as_they_are_likely(
    temperature: float, top_k: int | None
) -> None:
    p = {END: 0.1, 4: 0.4, 5: 0.2, 6: 0.05, 7: 0.25}
    scores = [math.log(p.get(word, 0.9)) for word in range(8)]
    draws = decode.uniform_draws(0, range(20000), 1)
    step = partial(constant_step, scores)
    said = decode.sample(
        step, draws, draws, IDS, Decoding(temperature=temperature, top_k=top_k)
    )
    likeliest = sorted(p, key=lambda w: -p[w])[:top_k]
    sharp = {word: p[word] ** (1 / temperature) for word in likeliest}
    counts = np.bincount(said[:, 0], minlength=8)
    assert set(np.flatnonzero(counts)) == set(sharp)
    expected = {w: 20000 * q / sum(sharp.values()) for w, q in sharp.items()}
    distance = sum((counts[w] - e) ** 2 / e for w, e in expected.items())
    assert distance < CHI_SQUARE


def test_whole_texts_are_drawn_as_often_as_they_are_likely() -> None:
    table = Table(seed=4, vocabulary=5)
    texts = every_text(table, 0, 4)  # with one word besides the end, there are 5
    draws = decode.uniform_draws(1, range(5000), 4)
    said = decode.sample(table.step, table.first([0] * 5000), draws, IDS, Decoding())
    rows = said.tolist()
    distance = 0.0
    for text, log_p in texts:
        expected = 5000 * math.exp(log_p)
        distance += (rows.count(padded(text, 4)) - expected) ** 2 / expected
    assert len(texts) == 5
    assert distance < CHI_SQUARE


@given(tables, lengths, st.integers(1, 4))
def test_what_is_drawn_does_not_depend_on_the_batch(
    table: Table, length: int, size: int
) -> None:
    pictures = [4, 1, 8, 0, 6]
    together = table.sample(pictures, length)
    batches = [pictures[i : i + size] for i in range(0, 5, size)]
    np.testing.assert_array_equal(
        np.concatenate([table.sample(batch, length) for batch in batches]), together
    )


def test_a_seed_begins_the_same_streams_whatever_their_length() -> None:
    short, long = (decode.uniform_draws(3, [5, 2], n) for n in (4, 9))
    np.testing.assert_array_equal(short, long[:, :4])
    assert len(np.unique(long)) == long.size
    assert not np.isin(decode.uniform_draws(4, [5, 2], 9), long).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_an_error(bad: float) -> None:
    step = partial(constant_step, [0.0, 0, 0, 0, bad])
    with pytest.raises(ValueError, match="NaN or infinity"):
        decode.greedy(step, np.zeros((2, 1)), 2, 3, IDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "best"}, "how is 'best', but must be one of .greedy., .sample"),
        ({"beam_size": 0}, "beam_size is 0, but must be a whole number from 1"),
        ({"length_penalty": -1}, "length_penalty is -1, but must be a number from 0"),
        ({"length_penalty": math.nan}, "length_penalty is nan"),
        ({"temperature": 0}, "temperature is 0, but must be a number above 0, up to"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0, but must be a whole number from 1"),
        ({"seed": -1}, "seed is -1, but must be a whole number from 0"),
    ],
)
def test_options_without_sense_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoding(**options)


@pytest.fixture(scope="module")
def captioner(drawn: Any) -> Trained:
    sizes = {"wordvec_dim": 8, "hidden_dim": 16, "batch": 20, "epochs": 2}
    trained, job = build(Settings(str(drawn), **sizes))
    for batch in job.batches(0):
        job.update(batch)
    return trained


DECODINGS = [
    Decoding("greedy"),
    Decoding("sample", temperature=0.8, seed=3),
    Decoding("beam", beam_size=3),
]


@pytest.mark.parametrize("how", DECODINGS, ids=lambda d: d.how)
def test_no_caption_has_words_that_nobody_says(
    captioner: Trained, how: Decoding
) -> None:
    """Even where the network likes them best; its mode, and dropout, stay as set."""
    model, never = captioner.model, ["<NULL>", "<START>", "<UNK>"]
    ids = [captioner.data.vocabulary[word] for word in never]
    features = captioner.standard(captioner.data.val.read_features(np.arange(5)))
    before = model.score.b.numpy().copy()
    model.train()
    try:
        model.score.b.data[ids] = 50
        said = model.sample(features, 12, how)
    finally:
        model.score.b.data[:] = before
    assert model.training
    for row in said.tolist():
        text = row[: row.index(END)] if END in row else row
        assert not set(text) & set(ids)
    if how.how != "sample":
        usual = model.sample(features, 12, how)
        np.testing.assert_array_equal(said, usual)


def test_unknown_words_can_be_allowed(captioner: Trained) -> None:
    vocabulary = captioner.data.vocabulary
    assert vocabulary["<UNK>"] in special_ids(vocabulary, False).never
    assert vocabulary["<UNK>"] not in special_ids(vocabulary, True).never


@pytest.mark.parametrize("how", DECODINGS, ids=lambda d: d.how)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_captions_are_the_same_on_every_device_and_in_every_batch(
    drawn: Any, cell: str, how: Decoding, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(str(drawn), cell=cell, wordvec_dim=8, hidden_dim=16)
    on_cpu, _ = build(settings)
    elsewhere, _ = build(settings, device)
    pictures = np.array([7, 2, 11, 0, 5])
    expected = sample.describe(on_cpu, on_cpu.data.val, pictures, how)
    assert len({*map(tuple, expected)}) > 1
    monkeypatch.setattr(sample, "BATCH", 2 * how.width)
    said = sample.describe(elsewhere, elsewhere.data.val, pictures, how)
    assert said == expected
    again = sample.describe(elsewhere, elsewhere.data.val, pictures[::-1], how)
    assert again == expected[::-1]


def test_more_words_to_choose_from_than_there_are(captioner: Trained) -> None:
    count = len(captioner.data.vocabulary)
    Decoding("sample", top_k=count).check_vocabulary(count)
    with pytest.raises(ValueError, match=f"at most {count}, the words in the voc"):
        sample.describe(
            captioner,
            captioner.data.val,
            np.arange(2),
            Decoding("sample", top_k=count + 1),
        )


def test_a_caption_may_be_as_long_as_any_in_training(captioner: Trained) -> None:
    lengths = []

    def note(*arguments: Any) -> Any:
        lengths.append(arguments[2])
        return np.zeros((2, 1), dtype=int)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Captioner, "sample", note)
        sample.describe(captioner, captioner.data.val, np.arange(2))
        patch.setattr(sample, "MAX_LENGTH", 2)
        sample.describe(captioner, captioner.data.val, np.arange(2))
    assert lengths == [30, captioner.data.train.captions.shape[1]]
    assert layout.SPECIAL_WORDS == ("<NULL>", "<START>", "<END>", "<UNK>")
