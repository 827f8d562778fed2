"""A fuzzer: does any file make a command crash, hang, swell or shout?

    python -m scripts.fuzz --kind picture --count 1000 --seed 0

begins with small good files of every sort that is read, damages them (bits, numbers,
cuts, splices, and inside what they pack), makes hostile ones (that claim, link, nest or
inflate), and gives each to the command that reads it, in a child held to 10 seconds and
500 MB. A file may be read, or refused in one message that names it. All else is a
failure: a traceback, a hang, more memory, a control character that reaches the
terminal, a hostile file that was believed, a warning of a library's between our lines.

Case n of a kind and a seed is always the same: `--only n` makes it alone, `--keep DIR`
keeps the files of those that fail. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# One thread, before NumPy comes: a child that is forked has only one.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from scripts.fuzzing import child, seeds  # noqa: E402
from scripts.fuzzing.child import Outcome  # noqa: E402
from scripts.fuzzing.hostile import ANY, NAMES, Hostile  # noqa: E402
from scripts.fuzzing.sorts import KINDS, SORTS, Sort, preload  # noqa: E402

HOSTILE_SHARE = 0.4  # of the cases, while there are hostile files not yet tried
MEMORY = "/dev/shm"
ENCODINGS = ("utf-8",) * 6 + ("ascii", "latin-1")  # of the terminal


@dataclass(frozen=True)
class Case:
    """One file to be read: of which sort, its number, and what was done to it."""

    sort: Sort
    number: int
    what: str
    file: Path
    encoding: str
    hostile: Hostile | None


class Fuzzer:
    """Makes cases from good files below a folder, and runs them."""

    def __init__(self, root: Path, kind: str, seed: int) -> None:
        self.root = root
        self.kind = kind
        self.seed = seed
        self.seeds = root / "seeds"
        preload()
        if not self.seeds.exists():
            self.seeds.mkdir()
            seeds.isolated(lambda: seeds.write(self.seeds))
        here = [s for s in SORTS if s.kind == kind and self._made(s.place).exists()]
        self.sorts = here
        self.good = {s.place: self._made(s.place).read_bytes() for s in here}
        self.hostile = [(sort, made) for sort in here for made in self._hostile(sort)]
        # In an order of their own, so that few cases try some of each sort.
        random.Random(0).shuffle(self.hostile)

    def _made(self, place: str) -> Path:
        return self.seeds / place

    def _hostile(self, sort: Sort) -> list[Hostile]:
        return [*ANY, *sort.crafted(self.good[sort.place])]

    def run(self, number: int, keep: Path | None = None) -> tuple[Case, Outcome]:
        """Make and run one case; where it fails, copy its files if asked to."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        try:
            case = self.make(number, folder)
            outcome = self.judged(case, self._run(case, folder))
            if keep and outcome.kind in child.BAD:
                self._keep(folder, keep / f"{self.kind}-{self.seed}-{number}")
            return case, outcome
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def make(self, number: int, folder: Path) -> Case:
        """Write the files of a case into a folder."""
        rng = random.Random(f"{self.kind} {self.seed} {number}")
        hostile = self._choose(number)
        sort = hostile[0] if hostile else rng.choice(self.sorts)
        if rng.random() < 0.1:
            name = os.fsdecode(rng.choice(NAMES))
            folder = folder / name
            folder.mkdir()
        file = self.copy(sort, folder)
        if hostile:
            hostile[1].make(file)
            what = hostile[1].name
        else:
            what, data = self._damaged(sort, rng)
            file.write_bytes(data)
        encoding = rng.choice(ENCODINGS)
        return Case(sort, number, what, file, encoding, hostile and hostile[1])

    def _choose(self, number: int) -> tuple[Sort, Hostile] | None:
        """The hostile file of a case, if it is one of theirs: each comes once."""
        place = round(number * HOSTILE_SHARE)
        mine = round((number + 1) * HOSTILE_SHARE) > place
        return self.hostile[place] if mine and place < len(self.hostile) else None

    def copy(self, sort: Sort, folder: Path) -> Path:
        """The good files that a sort's door needs, but for the one at its place."""
        for name in (sort.place.split("/")[0], *sort.others):
            shutil.copytree(self.seeds / name, folder / name)
        for config in folder.glob("*/config.json"):
            # Runs know where their data lie by the whole path.
            here = json.dumps(str(folder))[1:-1]
            config.write_text(config.read_text().replace(str(self.seeds), here))
        file = folder / sort.place
        file.unlink()
        return file

    def _damaged(self, sort: Sort, rng: random.Random) -> tuple[str, bytes]:
        data = self.good[sort.place]
        pool = [self.good[other.place] for other in self.sorts]
        names = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            way = rng.choice(sort.ways)
            data = way(rng, data, pool)
            names.append(way.__name__)
        return ", ".join(names), data

    def _run(self, case: Case, folder: Path) -> Outcome:
        return child.run(partial(case.sort.door, case.file), folder, case.encoding)

    def judged(self, case: Case, outcome: Outcome) -> Outcome:
        """What came of a case, in the light of what the file was."""
        hostile = case.hostile is not None and case.hostile.refused
        if case.sort.needed and hostile and outcome.kind == child.READ:
            return Outcome(child.ACCEPTED, outcome.said)
        # It may be another file that is told not to fit this one.
        told = case.file.parent.name in outcome.said or not case.sort.named
        if outcome.kind == child.REFUSED and not told:
            return Outcome(child.UNNAMED, outcome.said)
        return outcome

    def _keep(self, folder: Path, place: Path) -> None:
        shutil.copytree(folder, place, symlinks=True, dirs_exist_ok=True, ignore=_odd)


def _odd(folder: str, names: list[str]) -> list[str]:
    """What cannot be copied: pipes, sockets, and what is far too large."""
    paths = [Path(folder, name) for name in names]
    return [
        path.name
        for path in paths
        if not (path.is_symlink() or path.is_dir())
        and (not path.is_file() or path.stat().st_size > 2**30)
    ]


def table(found: Counter[tuple[str, str]]) -> Iterator[str]:
    """How often each sort of file came to each end, a line a sort."""
    kinds = [*child.GOOD, *child.BAD]
    sorts = sorted({place for place, _ in found})
    width = max(map(len, sorts), default=0)
    yield " ".join([" " * width, *kinds])
    for place in sorts:
        counts = (f"{found[place, kind] or '-':>{len(kind)}}" for kind in kinds)
        yield " ".join([place.ljust(width), *counts])


def fuzz(kind: str, count: int, seed: int, root: Path, keep: Path | None) -> int:
    """Run so many cases of a kind, print what fails, and a table; give the failures."""
    fuzzer = Fuzzer(root, kind, seed)
    found: Counter[tuple[str, str]] = Counter()
    for number in range(count):
        case, outcome = fuzzer.run(number, keep)
        found[case.sort.name, outcome.kind] += 1
        if outcome.kind in child.BAD:
            tell(kind, seed, case, outcome)
    print("\n".join(table(found)))
    failures = sum(n for (_, outcome), n in found.items() if outcome in child.BAD)
    tried = min(len(fuzzer.hostile), round(count * HOSTILE_SHARE))
    print(
        f"{kind}: {count} cases, {tried} of {len(fuzzer.hostile)} hostile files, "
        f"{failures} failures (seed {seed})"
    )
    return failures


def tell(kind: str, seed: int, case: Case, outcome: Outcome) -> None:
    """Print one failure, so that nothing in it can be obeyed."""
    said = outcome.said.strip().splitlines() or [""]
    shown = [line[:300] for line in (said if len(said) < 30 else said[-12:])]
    text = "\n    ".join(line.encode("unicode_escape").decode() for line in shown)
    print(
        f"{outcome.kind}: {case.sort.name}: {case.what} "
        f"(--kind {kind} --seed {seed} --only {case.number}, {case.encoding})\n"
        f"    {text}",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Fuzz as asked; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="default: all")
    parser.add_argument("--count", type=int, default=100, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this case alone, with all it says")
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    parser.add_argument(
        "--work", type=Path, help="folder whose good files are made once, and stay"
    )
    asked = parser.parse_args(arguments)
    failures = 0
    with working_folder() as folder:
        root = asked.work or folder
        root.mkdir(parents=True, exist_ok=True)
        for kind in asked.kind or KINDS:
            if asked.only is not None:
                failures += _alone(Fuzzer(root, kind, asked.seed), asked)
            else:
                failures += fuzz(kind, asked.count, asked.seed, root, asked.keep)
    return 1 if failures else 0


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for the files: in memory where the system has such a place.

    Commands flush what they write to the disk, which is most of their time on one.
    """
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place) as folder:
        yield Path(folder)


def _alone(fuzzer: Fuzzer, asked: argparse.Namespace) -> int:
    """Run one case and print all that it says."""
    case, outcome = fuzzer.run(asked.only, asked.keep)
    print(f"{outcome.kind}: {case.sort.name}: {case.what}, {case.encoding}")
    print(outcome.said.encode("ascii", "backslashreplace").decode())
    return outcome.kind in child.BAD


if __name__ == "__main__":
    sys.exit(main())
