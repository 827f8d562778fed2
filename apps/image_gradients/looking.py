"""Many pictures, looked into a page at a time, so that memory stays flat.

Glossary of shapes: N pictures of a page, (H, W) picture, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import minigrad as mg
from apps.console import say
from apps.image_gradients import fool as tricks
from apps.image_gradients import gallery, saliency
from apps.image_gradients.gallery import ON_PAGE, Part, best, named
from apps.image_gradients.gradients import in_parts, probabilities, scores_of
from apps.image_gradients.pictures import Batch, Pictures, read
from apps.image_gradients.saliency import Attribution, Method
from apps.image_gradients.squeezenet import SqueezeNet


def parts(pictures: Pictures) -> Iterator[tuple[Batch, Part]]:
    """Read as many pictures at a time as stand on a page, each with its page."""
    for number, few in enumerate(pictures.parts(ON_PAGE)):
        yield Batch.of(few), Part(number * ON_PAGE, len(pictures))


@dataclass
class Artist:
    """Draws maps of pictures, a page of them at a time."""

    network: SqueezeNet
    methods: Sequence[str]
    check: bool
    seed: int
    console: Console
    generator: mg.Generator = field(init=False)  # of the noise of all pictures

    def __post_init__(self) -> None:
        self.generator = mg.Generator(self.seed)

    def draw(self, batch: Batch, part: Part, number: int | None, folder: Path) -> Path:
        """Draw a page: a class's maps, the likeliest where none is given."""
        p = certainty(self.network, batch.x)
        asked = classes_of(batch, p, number)
        maps, attributions = self._maps(batch.x, asked)
        checked = self._checked(batch.x, asked) if self.check else []
        print_answers(batch, p, self.console)
        return gallery.saliency_page(
            folder, batch, asked, p, maps, attributions, checked, part
        )

    def _maps(
        self, x: np.ndarray, classes: np.ndarray
    ) -> tuple[dict[str, np.ndarray], list[Attribution]]:
        """Draw maps; of integrated gradients what belongs to the map, too."""
        methods: dict[str, Any] = saliency.METHODS | {
            "integrated": saliency.integrated_gradients,
            "smoothgrad": partial(saliency.smooth_grad, generator=self.generator),
        }
        maps: dict[str, np.ndarray] = {}
        attributions: list[Attribution] = []
        for name in self.methods:
            say(f"{name} ...", self.console)
            found = in_parts(partial(methods[name], self.network), x, classes)
            if name == "integrated":
                attributions = found
                found = [few.map for few in attributions]
            maps[name] = np.concatenate(found)
        return maps, attributions

    def _checked(
        self, x: np.ndarray, classes: np.ndarray
    ) -> list[tuple[str, dict[str, float]]]:
        def tell(layer: str) -> None:
            say(f"check: weights are random from {layer} on", self.console)

        methods = {name: _by_parts(way) for name, way in saliency.CHECKED.items()}
        generator = mg.Generator(self.seed)
        return saliency.sanity_check(self.network, x, classes, methods, generator, tell)


def _by_parts(method: Method) -> Method:
    """A method that looks into a few pictures at once only."""
    return lambda network, *given: np.concatenate(
        in_parts(partial(method, network), *given)
    )


@dataclass
class Trickster:
    """Fools the network with pictures, a page of them at a time, and keeps count.

    `how` is given to `fool`; if it is empty, the smallest change is looked for.
    """

    network: SqueezeNet
    how: dict[str, Any]
    number: int | None
    seed: int
    console: Console
    levels: list[int] = field(default_factory=list)
    right: int = 0
    random: np.random.Generator = field(init=False)  # of all pictures' targets

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def fool(self, batch: Batch, part: Part, folder: Path) -> None:
        """Save what fools the network, read it back, and say whether it still does."""
        before = certainty(self.network, batch.x)
        fooled = self._fooled(batch, before)
        paths = gallery.save_all(folder, batch.names, fooled.after, part)
        after = certainty(self.network, Batch.of([read(path) for path in paths]).x)
        page = gallery.fooling_page(folder, batch, fooled, before, after, part)
        for i, name in enumerate(batch.names):
            line = f"{name}: {likeliest(before[i])} -> {likeliest(after[i])}, "
            taken = f"{fooled.steps[i]} steps, at most {fooled.levels[i]}/255"
            say(line + taken, self.console)
        self.levels += fooled.levels.tolist()
        self.right += int((after.argmax(axis=1) == fooled.targets).sum())
        say(f"Pictures are in {folder}; the page: {page}", self.console)

    def tell(self) -> None:
        """Say of all pictures how many fool the network."""
        say(
            f"{self.right} of {len(self.levels)} fool the network when they are read "
            f"back; median change at most {np.median(self.levels):g}/255",
            self.console,
        )

    def _fooled(self, batch: Batch, p: np.ndarray) -> tricks.Fooled:
        count = self.how["most"] if self.how else tricks.TRIES * tricks.LEVELS
        way: Any = tricks.fool if self.how else tricks.smallest_change
        if self.number is None:
            own = p.argmax(axis=1)
            targets = tricks.other_classes(own, p.shape[1], self.random)
        else:
            targets = classes_of(batch, p, self.number)

        def work(pixels: np.ndarray, targets: np.ndarray) -> tricks.Fooled:
            with steps(self.console, "fooling", count) as tell:
                return way(self.network, pixels, targets, progress=tell, **self.how)

        return tricks.joined(in_parts(work, batch.pixels, targets))


def classes_of(batch: Batch, p: np.ndarray, number: int | None) -> np.ndarray:
    """The class to ask for: what was given, else the true one, else the likeliest."""
    if number is not None:
        return np.full(len(p), number)
    pairs = zip(batch.labels, p.argmax(axis=1), strict=True)
    return np.array([best if label is None else label for label, best in pairs])


def certainty(network: SqueezeNet, x: np.ndarray) -> np.ndarray:
    """The network's probabilities of classes. Shapes: (N, 3, H, W) -> (N, K)."""
    scores = in_parts(partial(scores_of, network), x)
    return probabilities(np.concatenate(scores))


def likeliest(p: np.ndarray) -> str:
    """What the network sees in one picture, and how sure it is."""
    number = int(p.argmax())
    return named(number, p[number])


def print_answers(batch: Batch, p: np.ndarray, console: Console) -> None:
    """Print a table of what the network sees in each picture."""
    table = Table("picture", "the network sees")
    table.add_column("certainty", justify="right")
    for name, row in zip(batch.names, p, strict=True):
        table.add_section()
        for rank, (seen, of) in enumerate(best(row)):
            table.add_row(name if rank == 0 else "", seen, f"{of:.1%}")
    console.print(table)


@contextmanager
def steps(
    console: Console, what: str, count: int | None
) -> Iterator[Callable[..., None]]:
    """A bar on a terminal, to be told of each step, and perhaps how much is left."""
    with Progress(
        console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=count)

        def tell(step: int, left: int | None = None) -> None:
            text = what if left is None else f"{what}, {left} left"
            bar.update(task, completed=step, description=text)

        yield tell
