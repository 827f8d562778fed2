"""Published data sets: fetched, unpacked, checked against size and sha256.

A set is a zip on a server and a table of the files in it. The zip is fetched into a
`.part` file, with which a later call goes on; it is unpacked beside the target, and put
in place once every file agrees with the table. Files are written under the table's
names alone. Two processes never fetch or unpack the same at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from rich.console import Console

from apps.console import say
from apps.files import TakenError, held, whole_folder
from apps.transfer import BLOCK, Meter, fetch, forget
from apps.web import DownloadError, Patience

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

    @property
    def files(self) -> Mapping[str, Published]:
        """What is wanted: the file itself."""
        return {self.name: self}


@dataclass(frozen=True)
class Archive:
    """A published zip of `size` bytes, and what is wanted from it.

    `files` are named by the end of their path in there: "raw/train.tsv" also finds
    "corpus/raw/train.tsv".
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

    Files that are there already and right are left alone. What has come when a
    transfer ends early is kept in `.FOLDER.zip.part`, with which the next call goes on.
    The zip goes when it is unpacked, or with `keep` becomes `FOLDER.zip`.
    Raises: DownloadError.
    """
    folder = folder.resolve()
    part = folder.with_name(f".{folder.name}.zip.part")
    with _fetched(archive, part, folder, console, patience) as missing:
        if missing:
            unpack(part, missing, folder, console)
            if keep:
                os.replace(part, folder.with_name(f"{folder.name}.zip"))


def download_file(
    file: Single, folder: Path, console: Console, patience: Patience = PATIENCE
) -> Path:
    """Bring one published file into a folder, as `download` does, and say where."""
    folder = folder.resolve()
    path, part = folder / file.name, folder / f".{file.name}.part"
    with _fetched(file, part, folder, console, patience) as missing:
        if missing:
            _require_sum(file.name, sha256(part), file)
            os.replace(part, path)
    return path


@contextmanager
def stoppable(console: Console) -> Iterator[None]:
    """Let Ctrl-C end a command that downloads, with a word on going on."""
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. To go on, run the same command again.", console)
        raise SystemExit(128 + signal.SIGINT) from None


def is_published(path: Path, file: Published) -> bool:
    """Whether a file is here and is the published one."""
    there = path.is_file() and path.stat().st_size == file.size
    return there and sha256(path) == file.sha256


def sha256(path: Path) -> str:
    """The sum of a file's bytes, in hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _missing(source: Archive | Single, folder: Path) -> dict[str, Published]:
    files = source.files.items()
    return {name: f for name, f in files if not is_published(folder / name, f)}


@contextmanager
def _alone(part: Path, folder: Path) -> Iterator[None]:
    """Keep other processes from what is fetched here; say what the disk refuses."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with held(part):
            yield
    except TakenError as error:
        raise DownloadError(
            f"Another process is fetching the same into {folder}. Wait for its end, or "
            "stop it and run this command again: it goes on with what has come."
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{part} cannot be written ({error.strerror or error}). Make room, or "
            "choose a folder that may be written to; then run the same command again."
        ) from error


@contextmanager
def _fetched(
    source: Archive | Single,
    part: Path,
    folder: Path,
    console: Console,
    patience: Patience,
) -> Iterator[dict[str, Published]]:
    """Fetch a part for what a folder lacks, and give that; then remove the part."""
    missing = _missing(source, folder)
    if not missing:
        say(f"{folder} holds all of it already, checked.", console)
        yield missing
        return
    _refuse_to_overwrite(folder, missing)
    with _alone(part, folder):
        missing = _missing(source, folder)
        if missing:  # not brought by another process since
            unpacked = sum(file.size for file in missing.values() if file != source)
            _require_space(source.size + unpacked, part)
            fetch(source.url, source.size, part, console, patience)
        try:
            yield missing
        except DownloadError:
            # Going on with these bytes would lead here again.
            forget(part)
            raise
        forget(part)


def _refuse_to_overwrite(folder: Path, files: Iterable[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise DownloadError(f"{folder} is a file. Give the name of a folder.")
    for name in files:
        if os.path.lexists(folder / name):
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


# -- unpacking ---------------------------------------------------------------------


def unpack(
    archive: Path, files: Mapping[str, Published], folder: Path, console: Console
) -> None:
    """Unpack a table's files into a folder, if all are right. Raises: DownloadError."""
    size = sum(file.size for file in files.values())
    with whole_folder(folder) as unfinished, archive.open("rb") as opened:
        with _readable():
            contents = zipfile.ZipFile(opened)
        with Meter("unpacking", size, console) as meter:
            for name, file in files.items():
                _extract(contents, name, file, unfinished / name, meter)


def _extract(
    archive: zipfile.ZipFile, name: str, file: Published, path: Path, meter: Meter
) -> None:
    """Unpack one file, hardly more than its published size, and check its sha256."""
    digest, left = hashlib.sha256(), file.size
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        for block in _unpacked(archive, name):
            digest.update(block)
            target.write(block)
            meter.more(len(block))
            left -= len(block)
            if left < 0:
                break
    _require_sum(name, digest.hexdigest(), file)


def _unpacked(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """What the file has whose path in the archive ends so, block by block."""
    found = [m for m in archive.infolist() if f"/{m.filename}".endswith(f"/{name}")]
    if not found:
        raise DownloadError(
            f"The archive does not hold {name!r}, which the published one does. "
            "It was replaced, or something else answered. Try again later."
        )
    # Those of other kinds do not unpack block by block, whatever they unpack to.
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DownloadError(
            f"The archive has {name!r} packed in a way that nobody publishes. It is "
            "not to be trusted, and nothing of it was unpacked."
        )
    with _readable(), archive.open(found[0]) as source:
        while block := source.read(BLOCK):
            yield block


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # there is no list of what zipfile may raise
        raise DownloadError(
            f"What was fetched is no zip that can be read ({error}): it was changed on "
            "the way, or something else answered. It was removed; try again."
        ) from error


def _require_sum(name: str, found: str, file: Published) -> None:
    if found != file.sha256:
        raise DownloadError(
            f"{name} came out with sha256 {found}, not with {file.sha256}, and was "
            "removed. Try again; if it stays so, tell the maintainers."
        )
