"""Does everything that a damaged file makes of its reader end in one message?"""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.io import damaged
from minigrad.io.damaged import printable, reading, require_regular
from minigrad.io.errors import RefusedError, TooLargeError, UnreadableError
from tests.minigrad.helpers import assert_parts


class OwnError(ValueError):
    pass


def nested(depth):
    return nested(depth + 1)


RAISED = {
    "struct": (lambda: struct.unpack("<q", b""), "ends too early"),
    "zlib": (lambda: zlib.decompress(b"no"), "incorrect header"),
    "lzma": (lambda: lzma.decompress(b"no"), "ended before"),
    "end": (lambda: (_ for _ in ()).throw(EOFError), "ends too early"),
    "zip": (lambda: zipfile.ZipFile(os.devnull), "File is not a zip file"),
    "key": (lambda: {}["W"], "'W' is missing in it"),
    "overflow": (lambda: (2**80).to_bytes(8), "int too big"),
    "recursion": (lambda: nested(0), "nested too deeply"),
    "unicode": (lambda: b"\xff".decode(), "not in UTF-8"),
    "os": (lambda: os.stat("/no/such"), "No such file"),
    "syntax": (lambda: compile("(", "", "eval"), "header cannot be read"),
    "memory": (lambda: bytes(2**62), "not enough memory"),
    "too big": (lambda: np.empty((2**40, 2**40)), "not enough memory"),
    "type": (lambda: len(3), "another kind than expected"),
    "digits": (lambda: int("1" * 5000), "thousands of digits"),
    "nothing": (lambda: (_ for _ in ()).throw(NotImplementedError), "NotImpl"),
    "stop": (lambda: next(iter(())), "StopIteration"),
}


@pytest.mark.parametrize("kind", [UnreadableError, OwnError])
@pytest.mark.parametrize("name", RAISED)
def test_every_error_becomes_the_one_with_the_files_name(name, kind):
    act, words = RAISED[name]
    with pytest.raises(kind) as raised, reading("a/b.bin", "a zip", kind, "Weep"):
        act()
    assert str(raised.value).startswith("'a/b.bin' cannot be read as a zip: ")
    assert_parts(raised.value, words, ". Weep.")
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("kind", [RefusedError, TooLargeError])
def test_a_reason_with_a_way_out_gets_no_second(kind):
    with pytest.raises(UnreadableError) as raised, reading("b", "a zip"):
        raise kind("it is blue. Paint it")
    assert str(raised.value) == "'b' cannot be read as a zip: it is blue. Paint it."


@pytest.mark.parametrize("kind", [UnreadableError, OwnError])
def test_what_is_said_already_is_not_said_twice(kind):
    with (
        pytest.raises(kind) as raised,
        reading("b", "a zip", kind),
        reading("b", "an archive", kind),
    ):
        raise ValueError("it is blue")
    whole = "'b' cannot be read as an archive: it is blue. Copy or fetch it again."
    assert str(raised.value) == whole


def test_a_message_takes_the_error_class_of_who_asked():
    with pytest.raises(OwnError) as raised, reading("b", "a zip", OwnError):
        raise UnreadableError("'c' is locked. Wait.")
    assert str(raised.value) == "'c' is locked. Wait."


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_stops_the_program_is_heard(kind):
    with pytest.raises(kind), reading("b", "a zip"):
        raise kind


@given(st.text(max_size=2000))
def test_a_reason_is_one_short_line_that_steers_no_terminal(text):
    with pytest.raises(UnreadableError) as raised, reading("b", "a zip"):
        raise ValueError(text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600


def test_escapes_are_shown():
    assert printable("a\x1b[2J\n\ud800é") == "a\\x1b[2J\\n\\ud800é"


def test_pipes_and_devices_are_refused_before_they_are_opened(pipe):
    for special in (pipe, os.devnull):
        with pytest.raises(UnreadableError) as raised:
            require_regular(special)
        assert_parts(raised.value, str(special), "cannot be read as a file")
    with pytest.raises(UnreadableError, match="a pipe"):
        damaged.open_regular(pipe)


def test_folders_and_missing_files_are_errors_of_the_system(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        require_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        require_regular(tmp_path / "none")


def test_a_regular_file_is_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    with damaged.open_regular(tmp_path / "link") as file:
        assert file.read() == b"abc"
