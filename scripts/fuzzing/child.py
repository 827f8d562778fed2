"""How does a command run where it can neither hang, nor fill the memory, nor hide?

A child is forked, so that nothing is imported anew. It has 10 seconds and 500 MB beyond
what it began with; what it prints goes to a file, through an encoding of our choice,
and is looked through for what a terminal would obey.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

SECONDS = 10.0
MEMORY = 500 * 2**20  # bytes
DISK = 500 * 2**20  # bytes a file

READ, REFUSED = "read", "refused"
TRACEBACK, HANG, OVER, RAW = "TRACEBACK", "HANG", "MEMORY", "RAW ESCAPE"
ACCEPTED, UNNAMED, WARNED = "ACCEPTED", "UNNAMED", "WARNING"
GOOD = (READ, REFUSED)
BAD = (TRACEBACK, HANG, OVER, RAW, ACCEPTED, UNNAMED, WARNED)

# A terminal obeys these, or shows the text in another order than it stands in.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
WARNING = re.compile(r"^.*\.py:\d+: \w*Warning: .*$", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of one child, and what it said or how it ended."""

    kind: str
    said: str


def run(work: Callable[[], object], folder: Path, encoding: str) -> Outcome:
    """Do some work in a child whose working folder this is; say what came of it."""
    log = folder / ".said"
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.close(reading)
        _live(work, folder, log, writing, encoding)
    os.close(writing)
    try:
        ended = _wait(reading, child)
        verdict = os.read(reading, 64).decode() if ended else HANG
    finally:
        os.close(reading)
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    said = log.read_bytes().decode(encoding, "replace") if log.exists() else ""
    if not verdict:
        name = signal.Signals(status & 0x7F).name if status & 0x7F else f"{status}"
        return Outcome(TRACEBACK, f"the process ended by {name}\n{said}")
    return _looked_at(Outcome(verdict, said))


def _wait(reading: int, child: int) -> bool:
    """Wait until a child has spoken; False once its time is over.

    On a busy machine it gets less than a second of work a second: as long as it runs,
    and has not worked for so long, it goes on.
    """
    waited = SECONDS
    while not select.select([reading], [], [], waited)[0]:
        state, worked = _at_work(child)
        if state != "R" or worked >= SECONDS:
            return False
        waited = min(1.0, SECONDS)
    return True


def _at_work(child: int) -> tuple[str, float]:
    """What a process does now ("R" runs or wants to), and its seconds of work."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return fields[0], ticks / os.sysconf("SC_CLK_TCK")


def _looked_at(outcome: Outcome) -> Outcome:
    """What a child has done, or what stands in its words and should not."""
    if outcome.kind not in GOOD:
        return outcome
    if obeyed := OBEYED.search(outcome.said):
        return Outcome(RAW, f"{obeyed[0]!r} in {outcome.said!r}")
    if warned := WARNING.search(outcome.said):
        return Outcome(WARNED, warned[0])
    return outcome


def _live(
    work: Callable[[], object], folder: Path, log: Path, verdict: int, encoding: str
) -> None:
    """All that the child does. It ends here."""
    try:
        os.chdir(folder)
        _redirect(log, encoding)
        before = _peak()
        _limit()
        kind = _do(work)
        sys.stdout.flush()
        sys.stderr.flush()
        if kind in GOOD and _peak() - before > MEMORY:
            kind = OVER
        os.write(verdict, kind.encode())
    except BaseException:
        os.write(verdict, TRACEBACK.encode())
        with contextlib.suppress(BaseException):
            os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _redirect(log: Path, encoding: str) -> None:
    """Let everything printed, by whatever code, go to the log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    out, errors = (open(n, "wb", closefd=False) for n in (1, 2))  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(out, encoding, errors="strict")
    sys.stderr = io.TextIOWrapper(errors, encoding, errors="backslashreplace")
    # A test suite turns warnings into errors; a user's Python shows them.
    warnings.resetwarnings()
    for silent in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
        warnings.simplefilter("ignore", silent)
    warnings.showwarning = _show_warning


def _show_warning(
    message: object, kind: type, file: str, line: int, *_: object
) -> None:
    sys.stderr.write(f"{file}:{line}: {kind.__name__}: {message}\n")


def _limit() -> None:
    """Bound memory (what a process writes to, mapped files aside), time and files."""
    used = _data_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmData:\s+(\d+)", status)[1])


def _peak() -> int:
    """The most memory that was ever held, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _do(work: Callable[[], object]) -> str:
    """Do the work as a command line does, and say how it ended."""
    try:
        work()
    except SystemExit as ended:
        return _refusal(ended) if ended.code else READ
    except MemoryError:
        traceback.print_exc()
        return OVER
    except BaseException:
        traceback.print_exc()
        return TRACEBACK
    return READ


def _refusal(ended: SystemExit) -> str:
    """A refusal, unless it only came when memory had run out."""
    if any(isinstance(error, MemoryError) for error in _causes(ended)):
        sys.stderr.write("(refused only when memory had run out)\n")
        return OVER
    return REFUSED


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
