"""One file of a known size from a server that may break off, change it or lie.

What has come is kept in a `.part` file, beside a note on the server's version of it. A
later request goes on from there (Range) if the version is still the same (If-Range).

Source: RFC 9110, HTTP Semantics (2022), sections 13.1.5 (If-Range) and 14 (Range).
"""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path

from rich import progress
from rich.console import Console

from apps import web
from apps.console import say
from apps.web import BrokenOffError, ChangedError, DownloadError, Patience

BLOCK = 2**18  # bytes read at a time
MAX_VERSION = 200  # letters; a server that gives a longer one may not take it back
AGENT = "minigrad-download"


class Meter(progress.Progress):
    """How far a transfer is: a bar on a terminal, a line each tenth elsewhere."""

    def __init__(self, what: str, size: int, console: Console) -> None:
        super().__init__(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._size = max(size, 1)
        self._id = self.add_task(what, total=size)
        say(f"{what} ({size:,} bytes)", console)

    def at(self, done: int) -> None:
        """Begin, or go on, from a number of bytes."""
        self.update(self._id, completed=done)

    def more(self, count: int) -> None:
        """Take note of more bytes."""
        before = self.tasks[0].completed
        self.advance(self._id, count)
        tenth = int(10 * (before + count) // self._size)
        if tenth > 10 * before // self._size and not self.console.is_terminal:
            say(f"{10 * tenth:3} % of {self._size:,} bytes", self.console)


def fetch(
    url: str, size: int, part: Path, console: Console, patience: Patience
) -> None:
    """Bring one file of a known size to `part`, or go on with what is there of it.

    Raises: DownloadError if the server does not give it, in the end.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url} is no web address. Give one of http or https.")
    end = patience.clock() + patience.total
    transfer = Transfer(url, size, part)
    farthest, failures = transfer.have(), 0
    with Meter(f"fetching {url}", size, console) as meter:
        while transfer.have() < size:
            trouble = transfer.go_on(meter, web.Deadline(patience, end))
            have = transfer.have()
            if have == size:
                break
            # Not since the last time: it may begin again and again, and get nowhere.
            farther = have - farthest >= max(1, size // 100)
            farthest = max(have, farthest)
            failures = 1 if farther else failures + 1
            if failures >= patience.tries or patience.clock() >= end:
                kept = "What has come is kept: run" if have else "Run"
                raise DownloadError(
                    f"{url}: {have:,} of {size:,} bytes have come, then {trouble}, "
                    f"{failures} times in a row. {kept} the same command again later."
                )
            pause = min(2.0 ** (failures - 1), 30.0)
            come = f"{have:,} of {size:,} bytes: {trouble}"
            say(f"{come}; again in {pause:g} s", console)
            patience.wait(pause)


def forget(part: Path) -> None:
    """Remove what has come, and the note on it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


class Transfer:
    """A file that comes in pieces: how much is here, and of which version."""

    def __init__(self, url: str, size: int, part: Path) -> None:
        self._url, self._size, self.part = url, size, part

    def have(self) -> int:
        """The number of bytes here that another request can go on from."""
        length = self.part.stat().st_size if self.part.is_file() else 0
        if length == self._size or (length < self._size and self._version()):
            return length
        if length:
            forget(self.part)
        return 0

    def go_on(self, meter: Meter, deadline: web.Deadline) -> str:
        """Go on as far as it comes, and say why it went no further.

        Raises: DownloadError if asking again is no use.
        """
        have = self.have()
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        if have:
            # If the file is another by now, the server sends all of it instead.
            headers |= {"Range": f"bytes={have}-", "If-Range": self._version()}
        try:
            with web.ask(self._url, headers, deadline) as answer:
                self._take(answer, have, meter, deadline)
        except BrokenOffError as error:
            return str(error)
        except ChangedError:
            forget(self.part)
            return "what has come does not fit what the server has now"
        return "the transfer broke off"

    def _take(
        self,
        answer: http.client.HTTPResponse,
        have: int,
        meter: Meter,
        deadline: web.Deadline,
    ) -> None:
        begin = self._begin(answer, have)
        if begin == 0:
            forget(self.part)
            if version := _version_of(answer):
                note = json.dumps({"url": self._url, "version": version})
                _note(self.part).write_text(note, encoding="utf-8")
        meter.at(begin)
        left = self._size - begin
        with self.part.open("ab" if begin else "wb") as file:
            while block := web.read(answer, self._url, min(BLOCK, left)):
                file.write(block)
                left -= len(block)
                deadline.more(len(block))
                meter.more(len(block))

    def _begin(self, answer: http.client.HTTPResponse, have: int) -> int:
        """Where the answer's bytes belong; refuse an answer of the wrong length."""
        packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packing != "identity":
            raise DownloadError(
                f"{self._url} comes packed ({packing:.20}), although it was asked for "
                "as it is: something on the way changes it. Try another network."
            )
        begin, length = 0, answer.headers.get("Content-Length", "*")
        if answer.status == 206:
            given = answer.headers.get("Content-Range", "").strip()
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", given, re.ASCII)
            known = _version_of(answer) in ("", self._version())
            if not (found and found[1] == str(have) and known):
                raise ChangedError
            begin, length = have, found[2]
        if length.isdecimal() and length.lstrip("0") != str(self._size):
            # Python reads no number of any length.
            shown = f"{int(length):,}" if len(length) < 20 else f"{length[:20]}..."
            raise DownloadError(
                f"{self._url} has {shown} bytes, but the published file has "
                f"{self._size:,}: it was replaced. Look at the address in a browser."
            )
        return begin

    def _version(self) -> str:
        """What the server called the version that the bytes here are of, if it did."""
        try:
            note = json.loads(_note(self.part).read_text(encoding="utf-8"))
            return _checked(note["version"]) if note["url"] == self._url else ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""


def _version_of(answer: http.client.HTTPResponse) -> str:
    """What tells the file's version from others to the byte; "" if nothing does."""
    tag = answer.headers.get("ETag", "")
    # A weak tag promises a file that means the same, not one of the same bytes.
    strong = "" if tag.startswith("W/") else tag
    return _checked(strong or answer.headers.get("Last-Modified", ""))


def _checked(version: object) -> str:
    """A version, if it can be sent back in a header."""
    fits = isinstance(version, str) and version.isprintable() and version.isascii()
    return str(version) if fits and len(str(version)) <= MAX_VERSION else ""
