"""Does a sound corpus give its sentences, and a faulty one a single clear error?"""

from __future__ import annotations

import dataclasses
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cola import course, data, sentences
from apps.cola.reading import Reader
from apps.cola.sentences import Corpus, DataError, Sentence

LINES = "a-1\t1\t\tThe boy slept.\na-1\t0\t*\tThe boy slept the car.\n"
SENTENCES = (
    Sentence("The boy slept.", 1, "a-1"),
    Sentence("The boy slept the car.", 0, "a-1"),
)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of two training sentences and two to validate on."""
    write(tmp_path / "mine" / data.TRAIN_FILE, LINES)
    write(tmp_path / "mine" / data.VALIDATION_FILE, LINES)
    return tmp_path / "mine"


def packed(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_file_gives_its_sentences(tmp_path: Path) -> None:
    assert sentences.read_tsv(write(tmp_path / "a.tsv", LINES)) == SENTENCES


@pytest.mark.parametrize(
    "content",
    [
        LINES.removesuffix("\n"),
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\r"),
        "\ufeff" + LINES,
        "\ufeff" + LINES.replace("\n", "\r\n"),
    ],
)
def test_line_ends_and_marks_of_the_encoding_do_not_matter(content: str) -> None:
    assert sentences.parse_tsv(content.encode(), "a.tsv") == SENTENCES


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), min_size=1
).filter(sentences.course_words)
SOURCES = st.text("abc-_09 ", min_size=1)
MADE = st.builds(Sentence, TEXTS, st.sampled_from([0, 1]), SOURCES)


@given(st.lists(MADE, min_size=1))
def test_what_is_written_is_read_again(written: list[Sentence]) -> None:
    content = sentences.format_tsv(written).encode()
    assert sentences.parse_tsv(content, "a.tsv") == tuple(written)


# A second line, or a whole file, and what the message must then say.
FAULTS: dict[str, tuple[bytes, str]] = {
    "no columns": (b"just a sentence\n", "line 2 has 1 columns"),
    "three columns": (b"a\t1\tA sentence.\n", "line 2 has 3 columns"),
    "five columns": (b"a\t1\t\tA sentence.\t\n", "line 2 has 5 columns"),
    "an empty line": (b"\na\t1\t\tA sentence.\n", "line 2 has 1 columns"),
    "label 2": (b"a\t2\t\tA sentence.\n", "line 2 has the label '2'"),
    "no label": (b"a\t\t\tA sentence.\n", "line 2 has the label ''"),
    "label with a space": (b"a\t1 \t\tA sentence.\n", "line 2 has the label '1 '"),
    "no sentence": (b"a\t1\t\t\n", "line 2 has no sentence"),
    "a sentence of spaces": (b"a\t1\t\t  \n", "line 2 has no sentence"),
    "a sentence of marks": (b"a\t1\t\t?!...\n", "line 2 has no sentence, for"),
    "a word of 50,000 letters": (
        b"a\t1\t\tA " + b"w" * 50_000 + b"\n",
        "line 2 is 50,007 letters long",
    ),
    "a NUL": (b"a\t1\t\tA \0 sentence.\n", "line 2: a NUL stands there"),
    "half a letter": (b"a\t1\t\tA \xed\xa0\x80.\n", "line 2: byte 0xed is no UTF-8"),
    "latin-1": (b"a\t1\t\tcaf\xe9.\n", "line 2: byte 0xe9 is no UTF-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_line_is_named(tmp_path: Path, fault: str) -> None:
    line, message = FAULTS[fault]
    first = LINES.encode().splitlines(keepends=True)[0]
    path = write(tmp_path / "a.tsv", first + line)
    with pytest.raises(DataError, match=rf"a\.tsv, {message}"):
        sentences.read_tsv(path)


def test_a_missing_or_empty_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.tsv is missing"):
        sentences.read_tsv(tmp_path / "a.tsv")
    with pytest.raises(DataError, match=r"a\.tsv is empty"):
        sentences.read_tsv(write(tmp_path / "a.tsv", ""))


def test_a_folder(folder: Path) -> None:
    corpus = data.load_corpus(folder)
    assert corpus == Corpus("mine", SENTENCES, SENTENCES)
    assert list(corpus.splits) == ["train", "validation"]


def test_a_folder_as_downloaded(folder: Path) -> None:
    raw = folder / "raw"
    raw.mkdir()
    for name in (data.TRAIN_FILE, data.VALIDATION_FILE):
        (folder / name).rename(raw / name)
    write(raw / data.OTHER_FILE, LINES)
    assert data.load_corpus(folder).others == {"out_of_domain_dev": SENTENCES}


def test_a_corpus_is_written_as_it_is_read(folder: Path, tmp_path: Path) -> None:
    corpus = data.load_corpus(folder)
    data.write_corpus(tmp_path / "copy", corpus)
    copy = data.load_corpus(tmp_path / "copy")
    assert dataclasses.replace(copy, name=corpus.name) == corpus
    assert copy.fingerprint == corpus.fingerprint


def test_the_fingerprint_tells_corpora_apart(folder: Path) -> None:
    corpus = data.load_corpus(folder)
    other = dataclasses.replace(corpus, train=SENTENCES[:1])
    moved = dataclasses.replace(corpus, train=SENTENCES * 2, validation=())
    marks = {c.fingerprint for c in (corpus, other, moved)}
    assert len(marks) == 3


def test_a_zip_gives_its_raw_sentences(tmp_path: Path) -> None:
    other = LINES.replace("slept", "did n't sleep")
    path = packed(
        tmp_path / "cola.zip",
        {
            "cola_public/tokenized/in_domain_train.tsv": other,
            "cola_public/raw/in_domain_train.tsv": LINES,
            "cola_public/raw/in_domain_dev.tsv": LINES,
        },
    )
    before = sorted(tmp_path.iterdir())
    corpus = data.load_corpus(path)
    assert (corpus.train, corpus.validation) == (SENTENCES, SENTENCES)
    assert sorted(tmp_path.iterdir()) == before, "something was unpacked"


def test_the_course_divides_one_file() -> None:
    many = tuple(Sentence(f"Sentence {n}.", n % 2, "a") for n in range(7_003))
    train, val = data._course_division(many, Path("x"))
    assert (train, val) == (many[:7_000], many[7_000:])


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def inflating(path: Path, name: str, size: int) -> None:
    """A zip of which one file is a letter many times."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w") as file,
    ):
        for _ in range(size // 10**6):
            file.write(b"w" * 10**6)


def damaged_zip(path: Path) -> None:
    packed(path, {"raw/in_domain_train.tsv": LINES * 99})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)


def named(*names: str) -> Callable[[Path], None]:
    """A folder in which these files have the sentences."""

    def make(folder: Path) -> None:
        for name in names:
            write(folder / name, LINES)

    return make


CORPUS_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda p: None, "is no folder and no zip"),
    "an empty folder": (lambda p: p.mkdir(), r"in_domain_train\.tsv is missing"),
    "nothing to validate on": (
        lambda p: write(p / data.TRAIN_FILE, LINES),
        r"has no in_domain_dev\.tsv",
    ),
    "GLUE's names": (
        named("train.tsv", "dev.tsv", "test.tsv"),
        r"has GLUE's names, .*: rename train\.tsv to in_domain_train\.tsv, dev\.tsv to",
    ),
    "a zip of GLUE's names": (
        lambda p: packed(p, {"CoLA/train.tsv": LINES, "CoLA/dev.tsv": LINES}),
        "has GLUE's names: unpack it, and give its folder",
    ),
    "other names": (
        named("mine.tsv"),
        r"in_domain_train\.tsv is missing\. If it is 'mine\.tsv', rename that",
    ),
    "the folder above GLUE's": (
        named("CoLA/train.tsv", "CoLA/dev.tsv"),
        "but .*corpus/CoLA has sentences: give that folder",
    ),
    "the folder above the published": (
        named("cola_public/raw/in_domain_train.tsv"),
        "but .*corpus/cola_public/raw has sentences: give that folder",
    ),
    "UTF-16": (
        lambda p: write(p / data.TRAIN_FILE, LINES.encode("utf-16")),
        r"in_domain_train\.tsv is in UTF-16, and only UTF-8",
    ),
    "a pipe": (lambda p: os.mkfifo(p), "corpus' is a pipe"),
    "a list of sentences that is a pipe": (
        lambda p: (p.mkdir(), os.mkfifo(p / data.TRAIN_FILE)),
        r"in_domain_train\.tsv' is a pipe",
    ),
    "a sparse file of 4 TB": (
        lambda p: (p.mkdir(), sparse(p / data.TRAIN_FILE, 2**42)),
        r"in_domain_train\.tsv' .* it has more than 67.1 MB",
    ),
    "a zip of 100 MB of one letter": (
        lambda p: inflating(p, "raw/in_domain_train.tsv", 10**8),
        "corpus' cannot be read as a zip: .* stored",
    ),
    "a zip of many files": (
        lambda p: packed(p, {f"{i}": "" for i in range(10_001)}),
        "it lists 10,001 files",
    ),
    "no zip": (lambda p: write(p, LINES), "cannot be read as a zip"),
    "an empty zip": (lambda p: packed(p, {}), r"does not hold raw/in_domain_train"),
    "a zip of words only": (
        lambda p: packed(p, {"tokenized/in_domain_train.tsv": LINES}),
        r"does not hold raw/in_domain_train",
    ),
    "a zip with a faulty line": (
        lambda p: packed(p, {"raw/in_domain_train.tsv": LINES + "a\n"}),
        r"corpus:in_domain_train\.tsv, line 3 has 1 columns",
    ),
    "a damaged zip": (damaged_zip, "cannot be read as a zip"),
}


@pytest.mark.parametrize("fault", CORPUS_FAULTS)
def test_a_faulty_corpus_gives_one_clear_error(tmp_path: Path, fault: str) -> None:
    make, message = CORPUS_FAULTS[fault]
    make(tmp_path / "corpus")
    with pytest.raises(DataError, match=message):
        data.load_corpus(tmp_path / "corpus")


def test_one_file_is_no_corpus(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", LINES)
    with pytest.raises(
        DataError, match=r"one file of sentences\. Put it into a folder"
    ):
        data.load_corpus(path)


def test_a_zip_bomb_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MAX_BYTES", 1_000)
    path = packed(tmp_path / "big.zip", {"raw/in_domain_train.tsv": LINES * 999})
    with pytest.raises(DataError, match=r"unpacks to more than 1.0 kB"):
        data.load_corpus(path)


def test_too_few_sentences_for_the_course(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has 2 sentences, but the course"):
        data.load_corpus(folder, "course")


def sentence(text: str, label: int = 1) -> Sentence:
    return Sentence(text, label, "a")


def test_preparation_by_hand() -> None:
    """Five times "the" and "boy", in this order; "slept" comes after and is dropped."""
    known = [sentence("The boy, the BOY!"), sentence("The boy's boy slept", 0)] * 3
    known += [sentence("Slept slept.")]
    made = Corpus("", tuple(known), (sentence("the don't boy"),))
    reader = Reader.of_the_course(made)
    assert list(reader.ids.items()) == [
        ("the", 1),
        ("boy", 2),
        ("UNK", 0),
        ("CLS", 3),
        ("PAD", 4),
    ]
    assert rows_of(reader, made.train[:2]) == [[1, 2, 1, 2, 3], [1, 0, 2, 0, 3]]
    assert rows_of(reader, made.validation) == [[1, 0, 2, 3, 4]]


def rows_of(reader: Reader, part: tuple[Sentence, ...]) -> list[list[int]]:
    return reader.rows([reader.read(one.text) for one in part]).tolist()


def test_the_published_corpus(shared: Path) -> None:
    corpus = data.load_corpus(shared / "data" / "cola" / "cola_public_1.1.zip")
    sizes = {name: len(split) for name, split in corpus.splits.items()}
    assert sizes == {
        "train": 7_000,
        "validation": 1_551,
        "in_domain_dev": 527,
        "out_of_domain_dev": 516,
    }
    again = data.load_corpus(shared / "data" / "cola")
    assert again.splits == corpus.splits
    whole = data.load_corpus(shared / "data" / "cola", "published")
    assert [len(split) for split in whole.splits.values()] == [8_551, 527, 516]
    assert whole.train == corpus.train + corpus.validation


def test_the_courses_arrays_come_from_its_preparation(shared: Path) -> None:
    """All of them but one row, which the course made from another sentence."""
    arrays = shared / "data" / "cola_7643"
    given = course.load_course(arrays)
    made = data.load_corpus(shared / "data" / "cola", "course")
    reader = Reader.of_the_course(made)
    assert given.vocabulary is not None
    assert list(reader.ids.items()) == list(given.vocabulary.items())
    for one, other in ((made.train, given.train), (made.validation, given.validation)):
        assert [s.label for s in one] == [s.label for s in other]
    val_ids, train_ids = (np.load(arrays / f"{s}_inxs.npy") for s in ("val", "train"))
    assert rows_of(reader, made.validation) == val_ids.tolist()
    different = (rows_of(reader, made.train) != train_ids).any(axis=1)
    assert np.flatnonzero(different).tolist() == [6_997]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The course's files for three sentences and two."""
    write(tmp_path / "word_to_ix.csv", "the,1\nboy,2\nUNK,0\nCLS,3\nPAD,4\n")
    ids = np.array([[1, 2, 3], [2, 3, 4], [0, 0, 3]])
    for split, count in (("train", 3), ("val", 2)):
        np.save(tmp_path / f"{split}_inxs.npy", ids[:count])
        np.save(tmp_path / f"{split}_labels.npy", np.array([1, 0, 1])[:count])
    return tmp_path


def test_prepared_arrays(prepared: Path) -> None:
    found = course.load_course(prepared)
    assert found.vocabulary == {"the": 1, "boy": 2, "UNK": 0, "CLS": 3, "PAD": 4}
    reader = Reader.of_the_course(found)
    assert rows_of(reader, found.train) == [[1, 2, 3], [2, 3, 4], [0, 0, 3]]
    assert [one.label for one in found.validation] == [1, 0]


def change(name: str, act: Callable[[np.ndarray], object]) -> Callable[[Path], object]:
    def inject(folder: Path) -> None:
        np.save(folder / name, act(np.load(folder / name)))

    return inject


def put(place: tuple[int, ...], value: int) -> Callable[[np.ndarray], np.ndarray]:
    def act(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return act


def claiming(shape: str, size: int) -> bytes:
    """An array of this many bytes whose header claims another shape."""
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + bytes(size)


PREPARED_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no ids": (
        lambda d: (d / "train_inxs.npy").unlink(),
        r"train_inxs\.npy is missing",
    ),
    "no words": (lambda d: (d / "word_to_ix.csv").unlink(), "csv is missing"),
    "an id beyond": (
        change("train_inxs.npy", put((1, 0), 5)),
        r"train_inxs\.npy: row 1 has the word id 5, outside",
    ),
    "an id below": (
        change("val_inxs.npy", put((0, 2), -1)),
        r"val_inxs\.npy: row 0 has the word id -1",
    ),
    "label 2": (
        change("val_labels.npy", put((1,), 2)),
        r"val_labels\.npy: row 1 is 2",
    ),
    "too few labels": (
        change("train_labels.npy", lambda x: x[:2]),
        r"has 2 labels for the 3 sentences",
    ),
    "ids of floats": (
        change("train_inxs.npy", np.float32),
        r"is float32 of shape \(3, 3\)",
    ),
    "flat ids": (change("train_inxs.npy", np.ravel), r"shape \(9,\), but must be"),
    "labels in columns": (
        change("val_labels.npy", lambda x: x[:, None]),
        r"shape \(2, 1\), but must be",
    ),
    "a row without a word": (
        change("train_inxs.npy", lambda x: np.array([[1, 2, 3], [3, 4, 4], [1, 1, 3]])),
        r"train_inxs\.npy: row 1 has no word",
    ),
    "a row of many ids": (
        change("val_inxs.npy", lambda x: np.pad(x, ((0, 0), (0, 2_000)), mode="edge")),
        r"val_inxs\.npy: a row has 2,003 ids, and 2,000 are the most",
    ),
    "a row of many letters": (
        lambda d: (
            (d / "word_to_ix.csv").write_text(
                f"{'w' * 1500},1\nboy,2\nUNK,0\nCLS,3\nPAD,4\n"
            ),
            np.save(d / "train_inxs.npy", np.array([[1, 2, 3], [1, 1, 3], [2, 2, 3]])),
        ),
        r"train_inxs\.npy: the words of row 1 have 3,000 letters",
    ),
    "a number of many digits": (
        lambda d: (d / "word_to_ix.csv").write_text("a," + "9" * 5_000),
        r"line 1 is 'a,9999",
    ),
    "a header that claims more": (
        lambda d: (d / "train_inxs.npy").write_bytes(claiming("(99000000000, 3)", 72)),
        "its header asks for other than the 72 bytes there",
    ),
    "a vocabulary that is a pipe": (
        lambda d: ((d / "word_to_ix.csv").unlink(), os.mkfifo(d / "word_to_ix.csv")),
        r"word_to_ix\.csv' is a pipe",
    ),
    "no sentences": (
        change("val_inxs.npy", lambda x: x[:0]),
        r"shape \(0, 3\): nothing",
    ),
    "rows of two lengths": (
        change("val_inxs.npy", lambda x: x[:, :2]),
        "training rows are 3 ids long but validation rows 2",
    ),
    "a pickle": (
        lambda d: (d / "train_inxs.npy").write_bytes(pickle.dumps([1])),
        r"train_inxs\.npy' cannot be read as an \.npy of numbers",
    ),
    "objects": (
        lambda d: np.save(d / "train_inxs.npy", np.array([{}]), allow_pickle=True),
        "it holds object, and only numbers are read",
    ),
    "cut short": (
        lambda d: (d / "train_inxs.npy").write_bytes(b"\x93NUMPY"),
        r"train_inxs\.npy' cannot be read as an \.npy of numbers",
    ),
    "an archive": (
        lambda d: packed(d / "train_inxs.npy", {"a.npy": b""}),
        "is an archive of arrays",
    ),
    "a line without number": (
        lambda d: write(d / "word_to_ix.csv", "the,0\nboy\n"),
        r"word_to_ix\.csv, line 2 is 'boy'",
    ),
    "a word twice": (
        lambda d: write(d / "word_to_ix.csv", "the,0\nthe,1\n"),
        r"line 2 is 'the,1'",
    ),
    "a number twice": (
        lambda d: write(d / "word_to_ix.csv", "the,0\nboy,0\n"),
        "must number its 2 words from 0 to 1",
    ),
    "no special words": (
        lambda d: write(d / "word_to_ix.csv", "the,0\nPAD,1\n"),
        "lacks CLS, UNK",
    ),
}


@pytest.mark.parametrize("fault", PREPARED_FAULTS)
def test_faulty_arrays_give_one_clear_error(prepared: Path, fault: str) -> None:
    inject, message = PREPARED_FAULTS[fault]
    inject(prepared)
    with pytest.raises(DataError, match=message):
        course.load_course(prepared)
