"""Does a set arrive whole from a server that breaks off, lies, stalls or attacks?"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import ssl
import stat
import struct
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from apps import download as downloads
from apps import files
from apps.download import (
    Archive,
    DownloadError,
    Patience,
    Published,
    Single,
    download,
    download_file,
)
from apps.image_gradients import catalogue
from apps.printable import printable
from apps.screen import Screen

CONTENTS = {
    "numbers.bin": np.random.default_rng(0).bytes(700_000),
    "words.txt": b"a red circle\n" * 50,
}


def published(contents: dict[str, bytes]) -> dict[str, Published]:
    return {
        name: Published(len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }


def packed(contents: dict[str, bytes], top: str = "set/") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(top + name, content)
        archive.writestr(f"__MACOSX/{top}._words.txt", b"not asked for")
    return buffer.getvalue()


ZIP = packed(CONTENTS)
FILES = published(CONTENTS)


@dataclass
class Answer:
    """How the server answers one request."""

    status: int = 0  # other than 0: an error
    body: bytes = ZIP
    stop_after: int | None = None  # break off after so many bytes
    stall: bool = False  # fall silent instead of breaking off
    ranges: bool = True
    length: int | None = -1  # what Content-Length says; None for no header
    tag: str | None = '"one"'
    modified: str | None = None
    content_range: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None  # what it says with a status
    raw: Callable[[BinaryIO], None] | None = None  # writes all of it, instead


@dataclass
class Script:
    """What the server will do, and what it was asked."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.script.asked.append(dict(self.headers))
        answers = self.script.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.close_connection = True
        if answer.raw:
            answer.raw(self.wfile)
            return
        if answer.status:
            self.send_error(answer.status, answer.reason)
            return
        body = self._begin(answer)
        self.wfile.write(body[: answer.stop_after])
        self.wfile.flush()
        if answer.stall:
            self.script.done.wait()

    def _begin(self, answer: Answer) -> bytes:
        asked = self.headers.get("Range")
        version = answer.tag or answer.modified
        body = answer.body
        if asked and answer.ranges and self.headers.get("If-Range") == version:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            given = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            self.send_header("Content-Range", answer.content_range or given)
            body = body[begin:]
        else:
            self.send_response(200)
        if answer.length is not None:
            length = len(body) if answer.length == -1 else answer.length
            self.send_header("Content-Length", str(length))
        if answer.tag:
            self.send_header("ETag", answer.tag)
        if answer.modified:
            self.send_header("Last-Modified", answer.modified)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        return body


class Http(ThreadingHTTPServer):
    """A server that does not mind a client that hangs up: here it is meant to."""

    def handle_error(self, *_: object) -> None:
        pass


@dataclass
class Server:
    script: Script
    url: str

    def will(self, *answers: Answer) -> Archive:
        """Say what it answers, the last one for ever; give the set it serves."""
        self.script.answers = list(answers)
        return Archive(self.url, len(ZIP), FILES)

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.script.asked]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    script = Script()
    handler = type("Scripted", (Handler,), {"script": script})
    http = Http(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield Server(script, f"http://127.0.0.1:{http.server_port}/set.zip")
    script.done.set()
    http.shutdown()
    thread.join()
    http.server_close()


@dataclass
class Fetcher:
    """Downloads into a folder, and keeps what was said and how long it would wait."""

    folder: Path
    timeout: float = 20.0
    tries: int = 3
    total: float = 1e9
    clock: Callable[[], float] = time.monotonic
    pauses: list[float] = field(default_factory=list)
    output: io.StringIO = field(default_factory=io.StringIO)

    def __call__(self, archive: Archive, **options: bool) -> None:
        download(archive, self.folder, self.console, self.patience, **options)

    def one(self, file: Single) -> Path:
        return download_file(file, self.folder, self.console, self.patience)

    @property
    def console(self) -> Console:
        return Screen(self.output, width=200)

    @property
    def patience(self) -> Patience:
        return Patience(
            self.timeout,
            self.tries,
            self.pauses.append,
            total=self.total,
            clock=self.clock,
        )

    @property
    def part(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.zip.part")

    def arrived(self) -> dict[str, bytes]:
        found = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }
        assert [p.name for p in self.folder.parent.iterdir()] == [self.folder.name]
        return found


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "below" / "data")


def test_a_set_arrives(server: Server, fetch: Fetcher) -> None:
    fetch(server.will(Answer()))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None]
    assert "100 % of" in fetch.output.getvalue()
    assert fetch.pauses == []


def test_what_is_there_is_not_fetched_again(server: Server, fetch: Fetcher) -> None:
    archive = server.will(Answer())
    fetch(archive)
    fetch(archive)
    assert len(server.script.asked) == 1
    assert "already" in fetch.output.getvalue()


def test_only_what_is_missing_is_put_in_place(server: Server, fetch: Fetcher) -> None:
    archive = server.will(Answer())
    fetch(archive)
    (fetch.folder / "words.txt").unlink()
    (fetch.folder / "mine.txt").write_text("mine")
    fetch(archive)
    assert fetch.arrived() == {**CONTENTS, "mine.txt": b"mine"}


def test_other_files_are_not_overwritten(server: Server, fetch: Fetcher) -> None:
    fetch.folder.mkdir(parents=True)
    (fetch.folder / "words.txt").write_text("mine")
    with pytest.raises(DownloadError, match="would be overwritten"):
        fetch(server.will(Answer()))
    assert (fetch.folder / "words.txt").read_text() == "mine"
    assert server.script.asked == []


def test_the_zip_can_be_kept(server: Server, fetch: Fetcher) -> None:
    fetch(server.will(Answer()), keep=True)
    assert fetch.folder.with_name("data.zip").read_bytes() == ZIP


@pytest.mark.parametrize(
    "version",
    [{}, {"tag": None, "modified": "Wed, 01 Jan 2020 00:00:00 GMT"}],
    ids=["tag", "date"],
)
def test_a_broken_transfer_goes_on(
    server: Server, fetch: Fetcher, version: dict[str, str | None]
) -> None:
    cut = Answer(stop_after=200_000, **version)  # type: ignore[arg-type]
    fetch(server.will(cut, cut, Answer(**version)))  # type: ignore[arg-type]
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, "bytes=200000-", "bytes=400000-"]
    assert fetch.pauses == [1.0, 1.0]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_version_it_begins_again(
    server: Server, fetch: Fetcher, tag: str | None
) -> None:
    fetch(server.will(Answer(stop_after=9_000, tag=tag), Answer(tag=tag)))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, None]


def test_a_server_that_ignores_ranges(server: Server, fetch: Fetcher) -> None:
    fetch(server.will(Answer(stop_after=9_000), Answer(ranges=False)))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, "bytes=9000-"]


def test_a_file_that_changes_meanwhile(server: Server, fetch: Fetcher) -> None:
    """The first bytes are of another version: they must not be joined to these."""
    old = bytes(len(ZIP))
    fetch(
        server.will(Answer(body=old, stop_after=9_000, tag='"old"'), Answer(tag='"n"'))
    )
    assert fetch.arrived() == CONTENTS
    assert server.script.asked[1]["If-Range"] == '"old"'


@pytest.mark.parametrize("given", ["bytes 5-9/10", "nonsense"])
def test_a_wrong_range_begins_again(server: Server, fetch: Fetcher, given: str) -> None:
    wrong = Answer(content_range=given)
    fetch(server.will(Answer(stop_after=9_000), wrong, Answer()))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, "bytes=9000-", None]


def test_a_range_that_does_not_exist(server: Server, fetch: Fetcher) -> None:
    fetch(server.will(Answer(stop_after=9_000), Answer(status=416), Answer()))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, "bytes=9000-", None]


def test_ctrl_c_keeps_what_has_come(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server.will(Answer(stop_after=300_000), Answer())

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "pauses", type("", (), {"append": interrupted}))
        with pytest.raises(KeyboardInterrupt):
            fetch(archive)
    assert fetch.part.stat().st_size == 300_000
    assert not fetch.folder.exists()
    fetch(archive)
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, "bytes=300000-"]


def test_ctrl_c_amid_a_transfer(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server.will(Answer())
    more = downloads.Meter.more

    def interrupted(meter: downloads.Meter, count: int) -> None:
        more(meter, count)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads.Meter, "more", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(archive)
    kept = fetch.part.stat().st_size
    assert 0 < kept < len(ZIP)
    fetch(archive)
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, f"bytes={kept}-"]


def test_a_silent_server(server: Server, fetch: Fetcher) -> None:
    fetch.timeout = 0.2
    fetch(server.will(Answer(stop_after=9_000, stall=True), Answer()))
    assert fetch.arrived() == CONTENTS
    assert "fell silent" in fetch.output.getvalue()
    assert server.ranges == [None, "bytes=9000-"]


def test_a_server_that_stays_silent(server: Server, fetch: Fetcher) -> None:
    fetch.timeout = 0.1
    with pytest.raises(DownloadError, match=r"0 of .* silent, 3 times in a row. Run"):
        fetch(server.will(Answer(stop_after=0, stall=True)))
    assert fetch.pauses == [1.0, 2.0]


def test_a_server_that_gives_up_for_good(server: Server, fetch: Fetcher) -> None:
    with pytest.raises(DownloadError, match=r"9,000 of .* kept: run the same command"):
        fetch(server.will(Answer(stop_after=9_000), Answer(status=503)))
    assert fetch.part.stat().st_size == 9_000


def test_a_server_that_is_somebody_else(
    fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = ssl.SSLCertVerificationError(1, "self-signed certificate")
    error = urllib.error.URLError(unknown)
    opener = urllib.request.OpenerDirector
    monkeypatch.setattr(opener, "open", lambda *_, **__: fail(error))
    with pytest.raises(DownloadError, match=r"self-signed .*this machine's clock"):
        fetch(Archive("https://host/set.zip", len(ZIP), FILES))
    assert fetch.pauses == []


def test_a_busy_server(server: Server, fetch: Fetcher) -> None:
    fetch(server.will(Answer(status=503), Answer(status=429), Answer()))
    assert fetch.arrived() == CONTENTS
    assert fetch.pauses == [1.0, 2.0]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there(server: Server, fetch: Fetcher, status: int) -> None:
    with pytest.raises(DownloadError, match=f"{status} .* it may have moved"):
        fetch(server.will(Answer(status=status)))
    assert len(server.script.asked) == 1


def test_nobody_listens(server: Server, fetch: Fetcher) -> None:
    archive = Archive("http://127.0.0.1:9/set.zip", len(ZIP), FILES)
    with pytest.raises(DownloadError, match="no connection"):
        fetch(archive)


@pytest.mark.parametrize("length", [10, len(ZIP) + 1, 10**12])
def test_a_length_other_than_published(
    server: Server, fetch: Fetcher, length: int
) -> None:
    with pytest.raises(DownloadError, match=f"has {length:,} bytes, but the published"):
        fetch(server.will(Answer(length=length, stop_after=10)))
    assert not fetch.part.exists()


def test_more_than_the_length_is_not_read(server: Server, fetch: Fetcher) -> None:
    endless = Answer(body=ZIP + b"x" * 10**6, length=None)
    fetch(server.will(endless))
    assert fetch.arrived() == CONTENTS


def test_less_than_the_length_without_saying_so(server: Server, fetch: Fetcher) -> None:
    fetch(server.will(Answer(length=None, stop_after=9_000), Answer()))
    assert fetch.arrived() == CONTENTS


def flipped(index: int) -> bytes:
    body = bytearray(ZIP)
    body[index] ^= 0xFF
    return bytes(body)


@pytest.mark.parametrize(
    "body",
    [bytes(len(ZIP)), flipped(300_000), flipped(3), flipped(len(ZIP) - 22)],
    ids=["nothing", "a byte of a file", "a byte of a header", "a byte of the end"],
)
def test_wrong_bytes(server: Server, fetch: Fetcher, body: bytes) -> None:
    with pytest.raises(DownloadError, match="no zip that can be read"):
        fetch(server.will(Answer(body=body)))
    # Going on with wrong bytes would never end well.
    assert list(fetch.folder.parent.iterdir()) == []
    fetch(server.will(Answer()))
    assert fetch.arrived() == CONTENTS


def test_wrong_content_of_the_right_size(server: Server, fetch: Fetcher) -> None:
    changed = {**CONTENTS, "words.txt": b"a red square\n" * 50}
    body = packed(changed)
    archive = server.will(Answer(body=body))
    with pytest.raises(DownloadError, match=r"words.txt came out with sha256"):
        fetch(Archive(archive.url, len(body), FILES))
    assert list(fetch.folder.parent.iterdir()) == []


def test_not_enough_room(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="1,000 bytes free"):
        fetch(server.will(Answer()))


def test_a_disk_that_refuses(server: Server, fetch: Fetcher) -> None:
    fetch.part.mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"cannot be written .* Make room"):
        fetch(server.will(Answer()))


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://host/a.zip", "a.zip"])
def test_only_the_web(fetch: Fetcher, url: str) -> None:
    with pytest.raises(DownloadError, match="no web address"):
        fetch(Archive(url, 10, FILES))


# What an attacker may pack, and what the message must then say.


def archive_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def lying_about_size() -> bytes:
    """A bomb: 50 MB of zeros, which both headers call 650 bytes."""
    bomb, said = archive_of(("set/words.txt", bytes(50_000_000))), 650
    crc = zipfile.crc32(bytes(said))  # type: ignore[attr-defined]
    body = bytearray(bomb)
    for signature, at in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        begin = body.index(signature) + at
        (compressed,) = struct.unpack_from("<I", body, begin + 4)
        struct.pack_into("<III", body, begin, crc, compressed, said)
    return bytes(body)


def overlapping() -> bytes:
    """Two names for the same bytes, as bombs have that are larger than they look."""
    body = bytearray(archive_of(("words.txt", b"x" * 650), ("numbers", b"y" * 650)))
    second = body.rindex(b"PK\x01\x02")
    struct.pack_into("<I", body, second + 42, 0)
    return bytes(body)


WORDS = CONTENTS["words.txt"]
TABLE = {"words.txt": FILES["words.txt"]}
# Names that would lead out of the folder, or stand for what is no file.
NAMES: dict[str, Callable[[], bytes]] = {
    "parent": lambda: archive_of(("../words.txt", WORDS)),
    "parent within": lambda: archive_of(("a/../../words.txt", WORDS)),
    "parent beside": lambda: archive_of(("words.txt", WORDS), ("../evil.txt", b"")),
    "absolute": lambda: archive_of(("/tmp/words.txt", WORDS)),
    "drive": lambda: archive_of(("C:/words.txt", WORDS)),
    "backslash": lambda: archive_of(("..\\words.txt", WORDS)),
    "NUL": lambda: archive_of(("words.txt", WORDS), ("evil\0.txt", b"")),
    "link": lambda: archive_of((special("words.txt", stat.S_IFLNK), b"/etc/passwd")),
    "link to itself": lambda: archive_of((special("words.txt", stat.S_IFLNK), WORDS)),
    "link on the way": lambda: archive_of(
        (special("set", stat.S_IFLNK), b"/tmp"), ("set/words.txt", WORDS)
    ),
    "device": lambda: archive_of((special("words.txt", stat.S_IFIFO), WORDS)),
    "twice by case": lambda: archive_of(("set/words.txt", WORDS), ("WORDS.txt", b"")),
    "twice by folder": lambda: archive_of(("a/words.txt", b""), ("b/words.txt", WORDS)),
    "a file and its folder": lambda: archive_of(
        ("words.txt", WORDS), ("words.txt/", b"")
    ),
    "many": lambda: archive_of(
        *((f"../{i}", b"") for i in range(10_001)), ("words.txt", WORDS)
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_whatever_names_a_zip_has_only_the_tables_are_written(
    server: Server, fetch: Fetcher, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under each of them stands what was published, or nothing at all."""
    written = []

    def spied(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "xb":
            written.append(path)
        return opened(path, mode, **options)

    opened = Path.open
    monkeypatch.setattr(Path, "open", spied)
    body = NAMES[kind]()
    served = server.will(Answer(body=body))
    with suppress(DownloadError):
        fetch(Archive(served.url, len(body), TABLE))
        assert fetch.arrived() == {"words.txt": WORDS}
    unfinished = fetch.folder.with_name(".data.unfinished")
    assert set(written) <= {unfinished / "words.txt"}
    found = {p for p in fetch.folder.parent.parent.rglob("*") if not p.is_dir()}
    assert found <= {fetch.folder / "words.txt"}, "something else was written"


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "larger": (lambda: archive_of(("words.txt", bytes(50_000_000))), "sha256"),
    "bomb": (lying_about_size, "sha256|no zip that can be read"),
    "missing": (lambda: archive_of(("other.txt", WORDS)), "does not hold 'words.txt'"),
    "overlapping": (overlapping, "no zip that can be read|sha256"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_malicious_zip(
    server: Server, fetch: Fetcher, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = ATTACKS[attack]
    body = make()
    archive = server.will(Answer(body=body))
    unpacked = []
    more = downloads.Meter.more

    def counted(meter: downloads.Meter, count: int) -> None:
        unpacked.append(count)
        more(meter, count)

    monkeypatch.setattr(downloads.Meter, "more", counted)
    with pytest.raises(DownloadError, match=message):
        fetch(Archive(archive.url, len(body), TABLE))
    assert sum(unpacked) < len(body) + 10**6, "all of it was unpacked"
    root = fetch.folder.parent.parent
    assert [p.name for p in root.rglob("*")] == ["below"], "something was left behind"


def test_strange_compression(server: Server, fetch: Fetcher) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("words.txt", WORDS)
    body = buffer.getvalue()
    served = server.will(Answer(body=body))
    with pytest.raises(DownloadError, match="packed in a way"):
        fetch(Archive(served.url, len(body), TABLE))


def test_a_name_that_stands_twice_in_a_zip(server: Server, fetch: Fetcher) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        body = archive_of(("words.txt", b"evil"), ("words.txt", WORDS))
    served = server.will(Answer(body=body))
    with pytest.raises(DownloadError, match=r"words\.txt came out with sha256"):
        fetch(Archive(served.url, len(body), TABLE))


def test_files_are_found_by_the_end_of_their_path(
    server: Server, fetch: Fetcher
) -> None:
    contents = {"raw/train.tsv": b"1\n", "tokenized/train.tsv": b"2\n"}
    body = packed(contents, top="corpus/")
    wanted = {"raw/train.tsv": contents["raw/train.tsv"]}
    served = server.will(Answer(body=body))
    fetch(Archive(served.url, len(body), published(wanted)))
    assert fetch.arrived() == wanted


def fail(error: Exception) -> None:
    raise error


def misplaced() -> bytes:
    """A zip whose directory leads to bytes before its beginning."""
    body = bytearray(archive_of(("words.txt", WORDS)))
    end = body.rindex(b"PK\x05\x06") + 16
    (begin,) = struct.unpack_from("<I", body, end)
    struct.pack_into("<I", body, end, begin + 5)
    return bytes(body)


FAULTS = [
    OSError(errno.EINVAL, "seek"),
    AttributeError("none"),
    KeyError(1),
    MemoryError(),
    RecursionError(),
    AssertionError(),
]


@pytest.mark.parametrize("fault", [None, *FAULTS], ids=repr)
def test_whatever_zipfile_raises_blocks_nothing(
    server: Server, fetch: Fetcher, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zip has the right size, so that it would be kept for ever."""
    body = misplaced() if fault is None else archive_of(("words.txt", WORDS))
    served = server.will(Answer(body=body))
    archive = Archive(served.url, len(body), {"words.txt": FILES["words.txt"]})

    with monkeypatch.context() as patch:
        if fault is not None:
            patch.setattr(zipfile.ZipFile, "open", lambda *_: fail(fault))
        with pytest.raises(DownloadError, match="no zip that can be read"):
            fetch(archive)
    assert list(fetch.folder.parent.iterdir()) == []
    good = archive_of(("words.txt", WORDS))
    fetch(Archive(server.will(Answer(body=good)).url, len(good), archive.files))
    assert fetch.arrived() == {"words.txt": WORDS}


# -- servers that never come to an end ----------------------------------------------


@dataclass
class Clock:
    """Goes on by so many seconds whenever somebody looks at it."""

    step: float
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def endless(begin: bytes, again: bytes) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(begin)
        while True:  # until the client hangs up
            file.write(again)

    return write


def drops(file: BinaryIO) -> None:
    """Send all of it, a byte a chunk."""
    file.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in ZIP:
        file.write(b"1\r\n%c\r\n" % byte)
        file.flush()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "a byte at a time": drops,
    "1xx": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "1xx with headers": endless(b"", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"),
    "a trailer": endless(CHUNKS + b"1\r\nP\r\n0\r\n", b"A: b\r\n"),
    "chunks of one byte": endless(CHUNKS, b"1;" + b"x" * 5000 + b"\r\nP\r\n"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_server(server: Server, fetch: Fetcher, kind: str) -> None:
    fetch.clock = Clock(step=5.0)
    archive = server.will(Answer(raw=ENDLESS[kind]))
    message = "brought less than 60,000 bytes of it in 60 seconds, 3 times in a row"
    with pytest.raises(DownloadError, match=message):
        fetch(archive)
    assert len(server.script.asked) == 3
    assert fetch.clock.now < 3 * 60 + 60


def test_a_slow_server_is_waited_for(server: Server, fetch: Fetcher) -> None:
    """As long as each minute brings enough."""
    fetch.clock = Clock(step=5.0)
    fetch(server.will(Answer()))
    assert fetch.arrived() == CONTENTS
    assert fetch.pauses == []


def test_no_download_takes_longer_than_it_may(server: Server, fetch: Fetcher) -> None:
    clock = Clock(step=0.0)
    fetch.clock, fetch.total = clock, 100.0

    class Pauses(list[float]):
        def append(self, pause: float) -> None:
            clock.now += 30.0
            super().append(pause)

    fetch.pauses = Pauses()
    cuts = [Answer(stop_after=n * len(ZIP) // 20) for n in range(1, 20)]
    with pytest.raises(DownloadError, match="kept: run the same command again"):
        fetch(server.will(*cuts))
    assert len(fetch.pauses) == 4


def test_a_range_that_never_exists(server: Server, fetch: Fetcher) -> None:
    """Beginning again and again is no progress."""
    few = Answer(stop_after=len(ZIP) // 50)
    with pytest.raises(DownloadError, match="3 times in a row"):
        fetch(server.will(*[few, Answer(status=416)] * 30))
    assert len(server.script.asked) == 3


def test_a_file_that_changes_again_and_again(server: Server, fetch: Fetcher) -> None:
    cuts = [Answer(stop_after=len(ZIP) // 50, tag=f'"{n}"') for n in range(60)]
    with pytest.raises(DownloadError, match="3 times in a row"):
        fetch(server.will(*cuts))
    assert len(server.script.asked) == 3


def test_a_range_that_nobody_asked_for(server: Server, fetch: Fetcher) -> None:
    with pytest.raises(DownloadError, match=r"416 .* does not give the file"):
        fetch(server.will(Answer(status=416)))
    assert len(server.script.asked) == 1


@pytest.mark.parametrize("status", [400, 412, 417, 431, 501])
def test_a_server_that_cannot_go_on(
    server: Server, fetch: Fetcher, status: int
) -> None:
    """Asking to go on would fail for ever; beginning again does not."""
    fetch(server.will(Answer(stop_after=9_000), Answer(status=status), Answer()))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, "bytes=9000-", None]


def moved(address: str) -> Answer:
    def write(file: BinaryIO) -> None:
        head = f"HTTP/1.1 302 Found\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n"
        file.write(head.encode("latin-1"))

    return Answer(raw=write)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/set.zip", "sends us from address to address without end"),
        ("http://[bad/", "sends us to an address that is none"),
        ("http://a..b/", "sends us to an address that is none|no connection"),
        ("file:///etc/passwd", "without end|does not give the file"),
        ("ftp://127.0.0.1/set.zip", "unknown url type: ftp"),
        ("http://127.0.0.1:x/", "nonnumeric port"),
        ("http://h/\x1b[2J a", "3 times in a row"),
    ],
)
def test_a_server_that_sends_us_astray(
    server: Server, fetch: Fetcher, address: str, message: str
) -> None:
    with pytest.raises(DownloadError, match=message):
        fetch(server.will(moved(address)))


# -- servers that say one thing and send another ------------------------------------


@pytest.mark.parametrize("length", ["1" * 5000, "9" * 20, "0" * 30 + "5"])
def test_a_length_of_many_digits(server: Server, fetch: Fetcher, length: str) -> None:
    lying = Answer(length=None, headers=(("Content-Length", length),))
    with pytest.raises(DownloadError, match="bytes, but the published file has"):
        fetch(server.will(lying))


def test_a_range_of_many_digits(server: Server, fetch: Fetcher) -> None:
    for odd in ("9" * 5000 + "-5/6", "0-5/" + "9" * 5000, "²-5/6"):
        wrong = Answer(content_range=f"bytes {odd}".encode().decode("latin-1"))
        fetch(server.will(Answer(stop_after=9_000), wrong, Answer()))
        assert fetch.arrived() == CONTENTS
        for path in fetch.folder.iterdir():
            path.unlink()


def test_what_comes_packed_is_refused(server: Server, fetch: Fetcher) -> None:
    packed_twice = Answer(headers=(("Content-Encoding", "gzip"),), length=None)
    with pytest.raises(DownloadError, match=r"comes packed \(gzip\)"):
        fetch(server.will(packed_twice))
    assert not fetch.part.exists()


def test_the_rest_of_another_version(server: Server, fetch: Fetcher) -> None:
    """A server that sends it, although it was asked for one version only."""

    def rest(file: BinaryIO) -> None:
        size = len(ZIP)
        head = 'HTTP/1.1 206 Partial Content\r\nETag: "two"\r\n'
        given = f"Content-Range: bytes 9000-{size - 1}/{size}\r\n\r\n"
        file.write((head + given).encode() + bytes(size - 9000))

    fetch(server.will(Answer(stop_after=9_000), Answer(raw=rest), Answer()))
    assert fetch.arrived() == CONTENTS


@pytest.mark.parametrize("tag", ['"' + "x" * 201 + '"', '"\x1b[2J"', '"\xe9"'])
def test_a_version_that_cannot_be_sent_back(
    server: Server, fetch: Fetcher, tag: str
) -> None:
    fetch(server.will(Answer(stop_after=9_000, tag=tag), Answer(tag=tag)))
    assert fetch.arrived() == CONTENTS
    assert server.ranges == [None, None]


def test_an_answer_without_the_file(server: Server, fetch: Fetcher) -> None:
    def accepted(file: BinaryIO) -> None:
        file.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nOK")

    fetch(server.will(Answer(raw=accepted), Answer()))
    assert fetch.arrived() == CONTENTS
    assert "the server answers 202, without the file" in fetch.output.getvalue()


def test_a_server_s_words_are_few_and_harmless(server: Server, fetch: Fetcher) -> None:
    reason = "\x1b[2J[red]" + "x" * 5000
    with pytest.raises(DownloadError) as caught:
        fetch(server.will(Answer(status=503, reason=reason)))
    assert "503 (\x1b[2J[red]xx" in str(caught.value)
    assert len(str(caught.value)) < 500
    said = fetch.output.getvalue()
    assert r"503 (\x1b[2J[red]xx" in said
    assert printable(said) == said


def mostly(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """Draw what is usual three times of four: much that is odd hides the rest."""
    usually = [st.just(usual)] * 3
    return st.one_of(*usually, st.sampled_from(others))


STATUSES = (200, 204, 206, 301, 400, 403, 404, 412, 416, 417, 429, 500, 503, 599)
ANSWERS = st.builds(
    Answer,
    status=mostly(0, *STATUSES),
    body=st.sampled_from([ZIP, bytes(len(ZIP)), ZIP[:-1], ZIP + b"x"]),
    stop_after=st.none() | st.integers(0, len(ZIP)),
    ranges=mostly(True, False),
    length=mostly(-1, None, 5, len(ZIP)),
    tag=mostly('"a"', None, '"b"', 'W/"a"', "\x7f", "x" * 300),
    modified=st.sampled_from([None, "yesterday"]),
    content_range=mostly(None, "bytes 0-1/2", "\x9b", "bytes 9-*/*"),
    headers=mostly((), (("Content-Encoding", "br"),)),
    reason=st.sampled_from([None, "\x1b[2J"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(ANSWERS, min_size=1, max_size=12))
def test_whatever_a_server_does_it_ends_and_blocks_nothing(
    server: Server, answers: list[Answer]
) -> None:
    """Either all is here and right, or one error says why; then a good server helps."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = Fetcher(Path(folder) / "below" / "data")
        server.script.asked.clear()
        with suppress(DownloadError):
            fetch(server.will(*answers))
            assert fetch.arrived() == CONTENTS
        # Each hundredth of the file may take so many tries.
        assert len(server.script.asked) <= len(answers) + 100 * fetch.tries
        assert printable(fetch.output.getvalue()) == fetch.output.getvalue()
        try:
            fetch(server.will(Answer()))
        except DownloadError:  # some of the bytes were wrong: they are gone now
            fetch(server.will(Answer()))
        assert fetch.arrived() == CONTENTS


# -- other processes, and the disk --------------------------------------------------


def test_two_at_once(server: Server, fetch: Fetcher) -> None:
    archive = server.will(Answer())
    fetch.part.parent.mkdir(parents=True)
    fetch.part.write_bytes(b"what the other has")
    with files.held(fetch.part):
        with pytest.raises(DownloadError, match="Another process is fetching the same"):
            fetch(archive)
        assert fetch.part.read_bytes() == b"what the other has"
    assert server.script.asked == []
    fetch(archive)
    assert fetch.arrived() == CONTENTS


def test_two_at_once_of_a_single_file(server: Server, fetch: Fetcher) -> None:
    file = alone(server, Answer())
    fetch.folder.mkdir(parents=True)
    same = pytest.raises(DownloadError, match="Another process is fetching the same")
    with files.held(fetch.folder / ".set.zip.part"), same:
        fetch.one(file)
    assert fetch.one(file).read_bytes() == ZIP


@pytest.mark.parametrize("single", [False, True])
def test_what_another_brought_meanwhile(
    server: Server, fetch: Fetcher, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock."""
    archive, file = server.will(Answer()), alone(server, Answer())

    @contextmanager
    def late(part: Path) -> Iterator[None]:
        monkeypatch.undo()
        fetch.one(file) if single else fetch(archive)
        with files.held(part):
            yield

    monkeypatch.setattr(downloads, "held", late)
    fetch.one(file) if single else fetch(archive)
    assert len(server.script.asked) == 1


def test_what_a_killed_process_left_is_cleared(server: Server, fetch: Fetcher) -> None:
    left = fetch.folder.with_name(".data.unfinished")
    left.mkdir(parents=True)
    (left / "numbers.bin").write_bytes(b"half")
    fetch(server.will(Answer()))
    assert fetch.arrived() == CONTENTS


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_heeded(server: Server, fetch: Fetcher, umask: int) -> None:
    before = os.umask(umask)
    try:
        fetch(server.will(Answer()), keep=True)
        fetch.one(alone(server, Answer()))
    finally:
        os.umask(before)
    folders = (fetch.folder, fetch.folder.parent)
    made = (*fetch.folder.iterdir(), fetch.folder.with_name("data.zip"))
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o777 & ~umask}
    assert {stat.S_IMODE(p.stat().st_mode) for p in made} == {0o666 & ~umask}


@pytest.mark.parametrize("way", ["wb", "xb"], ids=["fetching", "unpacking"])
def test_a_full_disk_costs_nothing(
    server: Server, fetch: Fetcher, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server.will(Answer())
    opened = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> object:
        file = opened(path, mode, **options)
        if mode == way and path.suffix in (".part", ".bin"):
            full_disk = OSError(errno.ENOSPC, "No space left on device")
            monkeypatch.setattr(downloads.Meter, "more", lambda *_: fail(full_disk))
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(DownloadError, match=r"cannot be written .*No space left"):
            fetch(archive)
    monkeypatch.undo()
    assert not fetch.folder.exists()
    kept = fetch.part.stat().st_size
    assert kept == (len(ZIP) if way == "xb" else kept) > 0
    fetch(archive)
    assert fetch.arrived() == CONTENTS


# A file that is published by itself. Fetching is as above.


def alone(server: Server, *answers: Answer) -> Single:
    """Say what the server answers; give the file it serves."""
    archive = server.will(*answers)
    digest = hashlib.sha256(ZIP).hexdigest()
    return Single(url=f"{archive.url}?version=1", size=len(ZIP), sha256=digest)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_single_file_arrives(server: Server, fetch: Fetcher) -> None:
    path = fetch.one(alone(server, Answer()))
    assert path == fetch.folder / "set.zip"
    assert path.read_bytes() == ZIP
    assert names_in(fetch.folder) == ["set.zip"]
    assert names_in(fetch.folder.parent) == [fetch.folder.name]


def test_a_single_file_is_not_fetched_again(server: Server, fetch: Fetcher) -> None:
    file = alone(server, Answer())
    assert fetch.one(file) == fetch.one(file)
    assert len(server.script.asked) == 1
    assert "already" in fetch.output.getvalue()


def test_a_single_file_goes_beside_others(server: Server, fetch: Fetcher) -> None:
    fetch.folder.mkdir(parents=True)
    (fetch.folder / "mine.txt").write_text("mine")
    fetch.one(alone(server, Answer()))
    assert names_in(fetch.folder) == ["mine.txt", "set.zip"]


def test_a_broken_single_file_goes_on(server: Server, fetch: Fetcher) -> None:
    fetch.one(alone(server, Answer(stop_after=200_000), Answer()))
    assert server.ranges == [None, "bytes=200000-"]
    assert names_in(fetch.folder) == ["set.zip"]


def test_a_single_file_goes_on_after_giving_up(server: Server, fetch: Fetcher) -> None:
    with pytest.raises(DownloadError, match=r"9,000 of .* kept: run the same command"):
        fetch.one(alone(server, Answer(stop_after=9_000), Answer(status=503)))
    assert names_in(fetch.folder) == [".set.zip.part", ".set.zip.part.json"]
    fetch.one(alone(server, Answer()))
    assert server.ranges[-1] == "bytes=9000-"
    assert names_in(fetch.folder) == ["set.zip"]


def test_a_single_file_of_other_bytes(server: Server, fetch: Fetcher) -> None:
    with pytest.raises(DownloadError, match=r"set\.zip came out with sha256"):
        fetch.one(alone(server, Answer(body=flipped(300_000))))
    assert names_in(fetch.folder) == []
    assert fetch.one(alone(server, Answer())).read_bytes() == ZIP


def test_a_single_file_of_another_length(server: Server, fetch: Fetcher) -> None:
    with pytest.raises(DownloadError, match="has 10 bytes, but the published"):
        fetch.one(alone(server, Answer(length=10, stop_after=10)))
    assert names_in(fetch.folder) == []


@pytest.mark.parametrize("what", ["file", "folder", "dangling link"])
def test_a_single_file_overwrites_nothing(
    server: Server, fetch: Fetcher, what: str
) -> None:
    path = fetch.folder / "set.zip"
    fetch.folder.mkdir(parents=True)
    if what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(fetch.folder / "nothing")
    with pytest.raises(DownloadError, match="would be overwritten"):
        fetch.one(alone(server, Answer()))
    assert names_in(fetch.folder) == ["set.zip"]
    assert server.script.asked == []


def test_a_single_file_needs_a_folder(server: Server, fetch: Fetcher) -> None:
    fetch.folder.parent.mkdir()
    fetch.folder.write_text("a file")
    with pytest.raises(DownloadError, match=r"is a file\. Give the name of a"):
        fetch.one(alone(server, Answer()))


def test_a_single_file_needs_room(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    need = f"1,000 bytes free, but the download takes {len(ZIP):,} more"
    with pytest.raises(DownloadError, match=need):
        fetch.one(alone(server, Answer()))
    assert server.script.asked == []


def test_what_has_come_needs_no_more_room(
    server: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match="kept"):
        fetch.one(alone(server, Answer(stop_after=9_000), Answer(status=503)))
    usage = type("Usage", (), {"free": len(ZIP) - 9_000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    assert fetch.one(alone(server, Answer())).read_bytes() == ZIP


def test_ctrl_c_ends_a_command_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, downloads.stoppable(Console()):
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert "To go on, run the same command again" in capsys.readouterr().out


def test_the_look_catalogue_is_complete() -> None:
    names = [file.name for file in catalogue.FILES]
    assert names == ["squeezenet1_1-b8a52dc0.pth", "imagenet_val_25.npz"]
    for file in catalogue.FILES:
        assert re.fullmatch(r"https?://[\w./-]+", file.url)
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size > 10**6
