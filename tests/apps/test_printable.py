"""Does only what can be shown reach a terminal, whoever prints it and by what?"""

from __future__ import annotations

import errno
import io
import logging
import re
import sys
import unicodedata
import warnings

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from apps import console as consoles
from apps.console import Group, filtered, new_console, say
from apps.printable import PrintableStream, one_line, printable
from apps.screen import Screen

# Letters of every kind, lone surrogates among them.
TEXTS = st.text(st.characters(codec=None), max_size=40)
ENCODINGS = ("utf-8", "ascii", "latin-1", "cp1252", "cp437", "koi8-r", "utf-16")
CONTROLS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

# What rich itself writes: styles, and the moves of a bar.
OWN = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A|[0-9]*[ABCDG])|\r")


def leaks(text: str) -> list[str]:
    """What is in a text and may not be shown."""
    return [
        letter
        for letter in text
        if letter not in "\n\t" and unicodedata.category(letter) in CONTROLS
    ]


@given(text=TEXTS, encoding=st.sampled_from(ENCODINGS))
@example(text="\x1b[31m\x07\x7f\x9b\x85\r", encoding="utf-8")
@example(text="\u202eabc\u2066\u200b\ufeff\u2028\u2029\xad", encoding="utf-8")
@example(text="\udce9\ud800", encoding="utf-8")
@example(text="naïve 字", encoding="ascii")
def test_what_is_printable(text: str, encoding: str) -> None:
    shown = printable(text, encoding)
    assert leaks(shown) == []
    shown.encode(encoding)
    assert printable(shown, encoding) == shown, "an escape was escaped again"
    assert "\n" not in one_line(text)


@given(text=st.text("ab [](){}<>$%\\/:é字🙂 \xa0\u3000\n\t—₂"))
def test_what_is_harmless_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\x00\x7f\x9b", r"a\x00\x7f\x9b"),
        ("gnp.\u202etxt", r"gnp.\u202etxt"),
        ("caf\udce9", r"caf\udce9"),
        ("one\rtwo", r"one\rtwo"),
        ("a\u200bb\u2028c", r"a\u200bb\u2028c"),
        ("a\U000e0041\u3164\U000e0101", r"a\U000e0041\u3164\U000e0101"),
    ],
)
def test_escapes_are_those_of_python(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_our_own_marks_have_plainer_ones() -> None:
    assert printable("██… é", "ascii") == r"##~ \xe9"
    assert printable("██… é", "utf-8") == "██… é"


# -- streams -----------------------------------------------------------------------


class Bytes(io.TextIOWrapper):
    """A stream in an encoding, as strict as a terminal's can be."""

    def __init__(self, encoding: str, terminal: bool = False) -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding, newline="")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        self.flush()
        return self.raw_bytes.getvalue().decode(self.encoding)


@given(texts=st.lists(TEXTS), encoding=st.sampled_from(ENCODINGS[:-1]))
def test_nothing_goes_around_a_stream(texts: list[str], encoding: str) -> None:
    below = Bytes(encoding)
    stream = PrintableStream(below)
    stream.writelines(texts)
    print(*texts, file=stream, flush=True)
    for text in texts:
        click.echo(text, file=stream, color=True)
    assert leaks(below.text) == []
    assert not hasattr(stream, "buffer")
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()


def test_a_stream_is_what_it_stands_for() -> None:
    below = Bytes("latin-1", terminal=True)
    stream = PrintableStream(below)
    assert (stream.encoding, stream.isatty(), stream.writable()) == (
        "latin-1",
        True,
        True,
    )
    assert PrintableStream(io.StringIO()).encoding == "utf-8"


def test_everybody_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Bytes("ascii"), Bytes("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with filtered():
        print("print \x1b]0;é\x07")
        click.echo("echo \x1b[31m", color=True)
        record = logging.makeLogRecord({"msg": "log \x1b[2J %s", "args": ("\udce9",)})
        assert logging.lastResort is not None
        logging.lastResort.handle(record)  # what logs where nobody set up logging
        say("say \x1b[2J\nError: a forged line", new_console())
    assert sys.stdout is out
    assert sys.stderr is err
    assert out.text.splitlines() == [
        r"print \x1b]0;\xe9\x07",
        r"echo \x1b[31m",
        r"say \x1b[2J\nError: a forged line",
    ]
    assert err.text == "log \\x1b[2J \\udce9\n"


def test_a_program_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with filtered():
        say("nobody hears it", new_console())
        click.echo("nor this")
    assert sys.stdout is None


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def warn() -> None:
        warnings.warn("of a\n  file \x1b[31m\u202e", UserWarning, stacklevel=2)

    before = warnings.showwarning
    with filtered():
        warnings.simplefilter("always")
        warn()
    assert capsys.readouterr().err == "Warning: of a file \\x1b[31m\\u202e\n"
    assert warnings.showwarning is before


def test_a_traceback_is_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("a fault of ours")
    except KeyError as error:
        error.add_note("seen at \x1b[2J")
        consoles.show_traceback(type(error), error, error.__traceback__)
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("seen at \\x1b[2J\n")


def test_messages_of_click_are_filtered() -> None:
    @click.group(cls=Group)
    def group() -> None:
        pass

    @group.command()
    @click.option("--size", type=int)
    def fail(size: int) -> None:
        with consoles.clear_errors():
            raise OSError(2, "no such \x1b[31mfile\nError: forged", "caf\udce9")

    @group.command()
    def refuse() -> None:
        raise click.ClickException("no \x1b[31m")

    evil = "\x1b[2J\x1b]0;x\x07\u202e"
    wrong = [evil], ["fail", "--size", evil], [f"--{evil}"], ["fail"], ["refuse"]
    for arguments in wrong:
        result = CliRunner().invoke(group, arguments)
        assert result.exit_code in (1, 2)
        assert leaks(result.output) == []
        assert r"\x1b[" in result.output, "it was dropped, not shown"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOENT, "Gone", "a"), "a: Gone. Check the path."),
        (OSError(errno.EACCES, "No", "a"), "a: No. Give a path that you may use, or "),
        (OSError(errno.EISDIR, "No", ".a.part", None, "a"), "a: No. Give the name of"),
        (OSError(errno.EIO, "Broken", "a"), "a: Broken. Check the path, and the disk"),
        (OSError("a library's own words"), "a library's own words"),
        (OSError(errno.EBADF, "Bad", 3), "Bad. Check the path"),
    ],
)
def test_what_the_system_refuses_is_told(error: OSError, message: str) -> None:
    with pytest.raises(click.ClickException) as caught, consoles.clear_errors():
        raise error
    assert caught.value.message.startswith(message)


# -- rich ---------------------------------------------------------------------------

MARKUP = "[red]w[/red] [link=http://h]l[/link] :dog:"
EVIL = f"\x1b]0;owned\x07{MARKUP} \u202e\x9b2J\udce9 é字"
LINK = "\x1b]8;;http://h\x1b\\link\x1b]8;;\x1b\\"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("terminal", [False, True])
def test_whatever_rich_draws_is_filtered(encoding: str, terminal: bool) -> None:
    below = Bytes(encoding, terminal)
    screen = Screen(below, width=200, force_terminal=terminal)
    table = Table(EVIL, "made elsewhere", title=EVIL, caption=EVIL)
    table.add_row(EVIL, Text(EVIL))
    column = TextColumn("{task.description}", markup=False)
    with filtered(), Progress(column, console=screen) as bar:
        bar.add_task(EVIL, total=2)
        screen.print(table, EVIL, Text.from_ansi(LINK))
        screen.rule(EVIL)
        screen.log(EVIL)
        say(EVIL, screen)
        print(EVIL, LINK)  # as a library may, while a bar stands there
    text = OWN.sub("", below.text)
    assert leaks(text) == []
    assert MARKUP in text


def test_a_text_is_nothing_but_text() -> None:
    below = Bytes("utf-8")
    Screen(below, width=200).print(MARKUP)
    assert below.text == MARKUP + "\n"


def test_a_table_has_room_for_escapes() -> None:
    """They are counted in its layout: no column is cut, all rows are as long."""
    below = Bytes("ascii")
    table = Table("word", "meaning")
    table.add_row("caf\xe9\x1b[1m", "a place")
    table.add_row("tea", "a drink")
    Screen(below, width=60).print(table)
    assert r"caf\xe9\x1b[1m | a place" in below.text
    assert len({len(line) for line in below.text.splitlines()}) == 1
