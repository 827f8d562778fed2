"""How does a published data set get here, whole, unchanged, and only where it should?

A set is a zip on a server and a table of the files in it: size and sha256 each. The zip
is fetched into a `.part` file, which a later call goes on with if the transfer breaks
off; it is unpacked beside the target, every file is held against the table, and only
then put in place. What the table does not name is not unpacked. A file that is
published by itself goes the same way, without the unpacking. Two processes never fetch
or unpack the same at once.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Self
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from apps.console import say
from apps.files import TakenError, held, whole_folder
from apps.web import (
    BrokenOffError,
    ChangedError,
    Deadline,
    DownloadError,
    Patience,
    ask,
    network,
)

BLOCK = 2**18  # bytes read at a time
MAX_MEMBERS = 10_000  # a list of contents longer than this is an attack
MAX_VERSION = 200  # letters; a server that gives a longer one may not take it back
AGENT = "minigrad-download"

PATIENCE = Patience()


@dataclass(frozen=True)
class Published:
    """One file of a set: its size in bytes, and its sha256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Single(Published):
    """A file that is published by itself, and where."""

    url: str

    @property
    def name(self) -> str:
        """What it is called there, and here."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Archive:
    """A published zip.

    `size` is the zip's in bytes. `files` names what is wanted from it, by the end of
    its path in there: "raw/train.tsv" also finds "corpus/raw/train.tsv".
    """

    url: str
    size: int
    files: Mapping[str, Published]


def download(
    archive: Archive,
    folder: Path,
    console: Console,
    patience: Patience = PATIENCE,
    *,
    keep: bool = False,
) -> None:
    """Bring a set's files into a folder: fetch, unpack, check, put in place.

    Files that are there already and right are left alone. Ctrl-C, or a server that
    gives up, leaves what has come in `.FOLDER.zip.part`, and the next call goes on.
    The zip goes when it is unpacked, or with `keep` becomes `FOLDER.zip`.

    Raises: DownloadError, one message that says what, why, and a way out.
    """
    folder = folder.resolve()
    if not _missing(archive, folder):
        say(f"{folder} holds all of it already, checked.", console)
        return
    part = folder.with_name(f".{folder.name}.zip.part")
    with _alone(part, folder):
        missing = _missing(archive, folder)
        if not missing:  # brought by another process since
            return
        _refuse_to_overwrite(folder, missing)
        _require_space(archive.size + sum(f.size for f in missing.values()), part)
        with _fetched(archive.url, archive.size, part, console, patience):
            unpack(part, missing, folder, console)
            if keep:
                os.replace(part, folder.with_name(f"{folder.name}.zip"))


def download_file(
    file: Single, folder: Path, console: Console, patience: Patience = PATIENCE
) -> Path:
    """Bring one published file into a folder: fetch, check, put in place; say where.

    Ctrl-C, or a server that gives up, leaves what has come in `.NAME.part`.

    Raises: DownloadError as `download` does.
    """
    folder = folder.resolve()
    path = folder / file.name
    if is_published(path, file):
        say(f"{path} is here already, checked.", console)
        return path
    part = folder / f".{file.name}.part"
    _refuse_to_overwrite(folder, [file.name])
    with _alone(part, folder):
        if is_published(path, file):  # brought by another process since
            return path
        _refuse_to_overwrite(folder, [file.name])
        _require_space(file.size, part)
        with _fetched(file.url, file.size, part, console, patience):
            _require_sum(file.name, sha256(part), file)
            os.replace(part, path)
    return path


def _missing(archive: Archive, folder: Path) -> dict[str, Published]:
    """What a folder lacks of a set, or has in another form."""
    return {
        name: file
        for name, file in archive.files.items()
        if not is_published(folder / name, file)
    }


@contextmanager
def _alone(part: Path, folder: Path) -> Iterator[None]:
    """Keep other processes from what is fetched here; say what the disk refuses."""
    try:
        with _written(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            with held(part):
                yield
    except TakenError as error:
        raise DownloadError(
            f"Another process is fetching the same into {folder}. Wait for its end, or "
            "stop it and run this command again: it goes on with what has come."
        ) from error


def bring(archive: Archive, folder: Path, console: Console, *, keep: bool) -> None:
    """Do as `download` does, for a command: Ctrl-C ends it with a word on going on.

    Raises: DownloadError as `download` does; SystemExit after Ctrl-C.
    """
    with stoppable(console):
        download(archive, folder, console, keep=keep)


@contextmanager
def stoppable(console: Console) -> Iterator[None]:
    """Let Ctrl-C end a command that downloads, with a word on going on.

    Raises: SystemExit after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. To go on, run the same command again.", console)
        raise SystemExit(128 + signal.SIGINT) from None


@contextmanager
def _fetched(
    url: str, size: int, part: Path, console: Console, patience: Patience
) -> Iterator[None]:
    """Fetch a part, whose name goes when it was used, or turns out to be wrong."""
    fetch(url, size, part, console, patience)
    try:
        yield
    except DownloadError:
        # Going on with these bytes would lead here again.
        _forget(part)
        raise
    _forget(part)


def fetch(
    url: str,
    size: int,
    part: Path,
    console: Console,
    patience: Patience = PATIENCE,
) -> None:
    """Bring one file of a known size to `part`, or go on with what is there of it.

    Raises: DownloadError if the server does not give it, in the end.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url} is no web address. Give one of http or https.")
    end = patience.clock() + patience.total
    transfer = Transfer(url, size, part, patience, end)
    farthest, failures = transfer.have(), 0
    with Meter(f"fetching {url}", size, console) as meter, _written(part):
        while transfer.have() < size:
            trouble = _attempt(transfer, meter)
            have = transfer.have()
            if have == size:
                break
            # Not since the last time: it may begin again and again, and get nowhere.
            farther = have - farthest >= max(1, size // 100)
            farthest = max(have, farthest)
            failures = 1 if farther else failures + 1
            if failures >= patience.tries or patience.clock() >= end:
                raise _given_up(url, have, size, trouble, failures)
            pause = min(2.0 ** (failures - 1), 30.0)
            meter.say(f"{have:,} of {size:,} bytes: {trouble}; again in {pause:g} s")
            patience.wait(pause)


def _attempt(transfer: Transfer, meter: Meter) -> str:
    """Go on with a transfer as far as it comes, and say why it went no further."""
    try:
        transfer.go_on(meter)
    except BrokenOffError as error:
        return str(error)
    except ChangedError:
        transfer.forget()
        return "what has come does not fit what the server has now"
    return "the transfer broke off"


class Transfer:
    """A file that comes in pieces: how much is here, and of which version."""

    def __init__(
        self, url: str, size: int, part: Path, patience: Patience, end: float
    ) -> None:
        self._url = url
        self._size = size
        self._part = part
        self._note = part.with_name(part.name + ".json")
        self._patience, self._end = patience, end

    def have(self) -> int:
        """The number of bytes here that another request can go on from."""
        if not self._part.is_file():
            return 0
        length = self._part.stat().st_size
        whole = length == self._size
        if length > self._size or not (whole or self._version()):
            self.forget()
            return 0
        return length

    def forget(self) -> None:
        """Begin from nothing."""
        _forget(self._part)

    def go_on(self, meter: Meter) -> None:
        """Ask for what is missing and add it to the file, as far as it comes.

        Raises: ChangedError if what is here does not belong to what the server has;
            BrokenOffError if the connection fails; DownloadError if asking again is
            no use.
        """
        have = self.have()
        deadline = Deadline(self._patience, self._end)
        timeout = self._patience.timeout
        with ask(self._url, self._headers(have), timeout, deadline) as answer:
            begin = self._begin(answer, have)
            if begin == 0:
                self._write_version(answer)
            meter.at(begin)
            with self._part.open("ab" if begin else "wb") as file:
                for block in self._blocks(answer, self._size - begin):
                    file.write(block)
                    deadline.more(len(block))
                    meter.more(len(block))

    def _headers(self, have: int) -> dict[str, str]:
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        version = self._version()
        if have and version:
            # If the file is another by now, the server sends all of it instead.
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        return headers

    def _begin(self, answer: http.client.HTTPResponse, have: int) -> int:
        """Where the answer's bytes belong; refuse an answer of the wrong length."""
        packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packing != "identity":
            raise DownloadError(
                f"{self._url} comes packed ({packing:.20}), although it was asked for "
                "as it is: something on the way changes it. Try another network."
            )
        if answer.status == 206:
            given = answer.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", given.strip(), re.ASCII)
            if not found or found[1] != str(have) or self._is_other(answer):
                raise ChangedError
            begin, total = have, found[2]
        else:
            begin, total = 0, answer.headers.get("Content-Length", "*")
        self._require_length(total)
        return begin

    def _is_other(self, answer: http.client.HTTPResponse) -> bool:
        """Whether an answer says that it is of another version than what is here."""
        version = _version_of(answer)
        return bool(version) and version != self._version()

    def _require_length(self, given: str) -> None:
        if given.isdecimal() and given.lstrip("0") != str(self._size):
            # Python reads no number of any length.
            length = f"{int(given):,}" if len(given) < 20 else f"{given[:20]}..."
            raise DownloadError(
                f"{self._url} has {length} bytes, but the published file has "
                f"{self._size:,}: it was replaced, or something else answers there. "
                "Look at the address in a browser."
            )

    def _blocks(self, answer: http.client.HTTPResponse, left: int) -> Iterator[bytes]:
        while left:
            # read1 gives what has come; read would wait for a whole block, and lose
            # it if the connection broke meanwhile.
            with network(self._url):
                block = answer.read1(min(BLOCK, left))
            if not block:
                break
            yield block
            left -= len(block)

    def _write_version(self, answer: http.client.HTTPResponse) -> None:
        self.forget()
        if version := _version_of(answer):
            note = {"url": self._url, "version": version}
            self._note.write_text(json.dumps(note), encoding="utf-8")

    def _version(self) -> str:
        """What the server called the version that the bytes here are of, if it did."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return _checked(note["version"]) if note["url"] == self._url else ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""


def _version_of(answer: http.client.HTTPResponse) -> str:
    """What tells the file's version from others to the byte; "" if nothing does."""
    tag = answer.headers.get("ETag", "")
    # A weak tag promises a file that means the same, not one of the same bytes.
    strong = tag if tag and not tag.startswith("W/") else ""
    return _checked(strong or answer.headers.get("Last-Modified", ""))


def _checked(version: object) -> str:
    """A version, if it can be sent back in a header."""
    fits = isinstance(version, str) and version.isprintable() and version.isascii()
    return str(version) if fits and len(str(version)) <= MAX_VERSION else ""


def unpack(
    archive: Path, files: Mapping[str, Published], folder: Path, console: Console
) -> None:
    """Unpack the files of the table, check each, and put them into the folder.

    Nothing appears in the folder before everything is checked.

    Raises: DownloadError if the archive is damaged, is not what the table says, or
        tries to write where it should not.
    """
    size = sum(file.size for file in files.values())
    with whole_folder(folder) as unfinished, archive.open("rb") as file:
        with _readable():
            opened = zipfile.ZipFile(file)
            members = find_members(opened, files)
        with Meter("unpacking", size, console) as meter:
            for name, member in members.items():
                _extract(opened, member, files[name], unfinished / name, meter)


def find_members(
    archive: zipfile.ZipFile, files: Mapping[str, Published]
) -> dict[str, zipfile.ZipInfo]:
    """Find each file of the table in an archive, and refuse one that plays tricks.

    Raises: DownloadError for a path that leads outside, a link, a name that stands
        twice, a size other than the table's, a file that is missing.
    """
    everything = archive.infolist()
    if len(everything) > MAX_MEMBERS:
        raise _malicious(f"it lists {len(everything):,} files")
    seen: set[str] = set()
    found: dict[str, zipfile.ZipInfo] = {}
    for member in everything:
        path = _safe_path(member)
        # Some file systems take "A" and "a" for one name.
        if path.casefold() in seen:
            raise _malicious(f"{path!r} stands in it twice")
        seen.add(path.casefold())
        for name in files:
            if path == name or path.endswith("/" + name):
                if name in found:
                    raise _malicious(f"{name!r} stands in it twice")
                found[name] = member
    _require_as_published(found, files)
    return found


def _safe_path(member: zipfile.ZipInfo) -> str:
    """A member's path, if it stays where it is unpacked."""
    path = member.orig_filename.removesuffix("/")
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    outside = posix.is_absolute() or windows.drive or windows.root
    if outside or ".." in windows.parts or "\\" in path or "\0" in path or not path:
        raise _malicious(f"the path {path!r} leads out of the folder")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _malicious(f"{path!r} is a link or a device, not a file")
    return path


def _require_as_published(
    found: Mapping[str, zipfile.ZipInfo], files: Mapping[str, Published]
) -> None:
    for name, file in files.items():
        if name not in found:
            raise DownloadError(
                f"The archive does not hold {name!r}, which the published one does. "
                "It was replaced, or something else answered. Try again later."
            )
        if found[name].file_size != file.size:
            raise DownloadError(
                f"The archive says that {name!r} has {found[name].file_size:,} bytes, "
                f"but the published file has {file.size:,}. It was replaced, or "
                "tampered with; nothing of it was unpacked."
            )
        if found[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _malicious(f"{name!r} is packed in a way that nobody publishes")


def _extract(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    file: Published,
    path: Path,
    meter: Meter,
) -> None:
    """Unpack one file, never more than its published size, and check its sha256."""
    digest, left = hashlib.sha256(), file.size
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        for block in _unpacked(archive, member):
            left -= len(block)
            if left < 0:
                raise _malicious(f"{path.name!r} is larger than it says")
            digest.update(block)
            target.write(block)
            meter.more(len(block))
    _require_sum(path.name, digest.hexdigest(), file)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """What a member holds, block by block."""
    with _readable(), archive.open(member) as source:
        while block := source.read(BLOCK):
            yield block


def _require_sum(name: str, found: str, file: Published) -> None:
    if found != file.sha256:
        raise DownloadError(
            f"{name} came out with sha256 {found}, but the published file has "
            f"{file.sha256}: it was changed on the way or on the server. Nothing was "
            "kept. Try again; if it stays so, tell the maintainers."
        )


def is_published(path: Path, file: Published) -> bool:
    """Whether a file is here and is the published one."""
    there = path.is_file() and path.stat().st_size == file.size
    return there and sha256(path) == file.sha256


def sha256(path: Path) -> str:
    """The sum of a file's bytes, in hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _refuse_to_overwrite(folder: Path, files: Iterable[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise DownloadError(f"{folder} is a file. Give the name of a folder.")
    for name in files:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise DownloadError(
                f"{folder / name} is there already, but is not the published file, and "
                "would be overwritten. Remove it, or choose another folder."
            )


def _require_space(size: int, part: Path) -> None:
    here = part.stat().st_size if part.exists() else 0
    need, free = size - here, shutil.disk_usage(part.parent).free
    if need > free:
        raise DownloadError(
            f"{part.parent} has {free:,} bytes free, but the download takes {need:,} "
            "more. Make room, or choose a folder on another disk."
        )


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)


@contextmanager
def _written(part: Path) -> Iterator[None]:
    """Say what to do where the disk does not take what comes."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{part} cannot be written ({error.strerror or error}). Make room on the "
            "disk, or choose a folder that may be written to; then run the same "
            "command again."
        ) from error


def _given_up(
    url: str, have: int, size: int, trouble: str, failures: int
) -> DownloadError:
    kept = "What has come is kept: run" if have else "Run"
    return DownloadError(
        f"{url}: {have:,} of {size:,} bytes have come, then {trouble}, {failures} "
        f"times in a row. {kept} the same command again later to go on."
    )


def _malicious(reason: str) -> DownloadError:
    return DownloadError(
        f"The archive is not to be trusted: {reason}. Nothing of it was unpacked."
    )


@contextmanager
def _readable() -> Iterator[None]:
    """Turn whatever a damaged zip makes of its reader into one message."""
    try:
        yield
    except DownloadError:
        raise
    except Exception as error:  # there is no list of what zipfile may raise
        raise DownloadError(
            f"What was fetched is no zip that can be read ({error}): it was changed on "
            "the way, or something else answered. It was removed; try again."
        ) from error


class Meter:
    """How far a transfer is: a bar on a terminal, a line each tenth elsewhere."""

    def __init__(self, what: str, size: int, console: Console) -> None:
        self._what, self._size, self._console = what, max(size, 1), console
        self._done = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task(self._what, total=self._size)
        self.say(f"{self._what} ({self._size:,} bytes)")
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def at(self, done: int) -> None:
        """Begin, or go on, from a number of bytes."""
        self._done = done
        self._bar.update(self._task, completed=done)

    def more(self, count: int) -> None:
        """Take note of more bytes."""
        before = 10 * self._done // self._size
        self._done += count
        self._bar.update(self._task, completed=self._done)
        tenth = 10 * self._done // self._size
        if tenth > before and not self._console.is_terminal:
            self.say(f"{10 * tenth:3} % of {self._size:,} bytes")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        say(line, self._console)
