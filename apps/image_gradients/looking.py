"""How are many pictures looked into?  A page of them at a time, so memory stays flat.

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
from apps.image_gradients.fool import Fooled
from apps.image_gradients.gallery import ON_PAGE, Part, best, named
from apps.image_gradients.gradients import in_parts, probabilities, scores_of
from apps.image_gradients.pictures import Picture, Pictures, normalize, read
from apps.image_gradients.saliency import Attribution, Method
from apps.image_gradients.squeezenet import SqueezeNet


def parts(pictures: Pictures) -> Iterator[tuple[list[Picture], Part]]:
    """Read as many pictures at a time as stand on a page, each with its page."""
    for number, few in enumerate(pictures.parts(ON_PAGE)):
        yield few, Part(number * ON_PAGE, len(pictures))


@dataclass
class Artist:
    """Draws maps of pictures, a page of them at a time."""

    network: SqueezeNet
    methods: Sequence[str]
    check: bool
    seed: int
    console: Console
    generator: Any = field(init=False)  # of the noise of all pictures, one by one

    def __post_init__(self) -> None:
        self.generator = mg.Generator(self.seed)

    def draw(
        self, pictures: list[Picture], part: Part, number: int | None, folder: Path
    ) -> Path:
        """Draw a page: a class's maps, the likeliest where none is given."""
        pixels = pixels_of(pictures)
        shares = certainty(self.network, pixels)
        asked = classes_of(pictures, shares, number)
        x = normalize(pixels)
        maps, attributions = self._maps(x, asked)
        checked = self._checked(x, asked) if self.check else []
        print_answers(pictures, shares, self.console)
        return gallery.saliency_page(
            folder, pictures, asked, shares, maps, attributions, checked, part
        )

    def _maps(
        self, x: np.ndarray, classes: np.ndarray
    ) -> tuple[dict[str, np.ndarray], list[Attribution]]:
        """Draw maps; of integrated gradients what belongs to the map, too."""
        maps: dict[str, np.ndarray] = {}
        attributions: list[Attribution] = []
        for name in self.methods:
            say(f"{name} ...", self.console)
            found = in_parts(partial(self._drawn, name), x, classes)
            if name == "integrated":
                attributions = found
                found = [few.map for few in attributions]
            maps[name] = np.concatenate(found)
        return maps, attributions

    def _drawn(self, name: str, x: np.ndarray, classes: np.ndarray) -> Any:
        """Draw one kind of map of a few pictures."""
        if name == "integrated":
            return saliency.integrated_gradients(self.network, x, classes)
        if name == "smoothgrad":
            noise = self.generator
            return saliency.smooth_grad(self.network, x, classes, generator=noise)
        return saliency.METHODS[name](self.network, x, classes)

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
    random: Any = field(init=False)  # of all pictures' targets, one by one

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def fool(self, pictures: list[Picture], part: Part, folder: Path) -> None:
        """Save what fools the network, read it back, and say whether it still does."""
        before = certainty(self.network, pixels_of(pictures))
        fooled = self._fooled(pictures, before)
        names = [picture.name for picture in pictures]
        paths = gallery.save_all(folder, names, fooled.after, part)
        after = certainty(self.network, pixels_in(paths))
        page = gallery.fooling_page(folder, pictures, fooled, before, after, part)
        for i, name in enumerate(names):
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

    def _fooled(self, pictures: list[Picture], before: np.ndarray) -> Fooled:
        targets = self._targets(pictures, before)
        count = self.how["most"] if self.how else tricks.TRIES * tricks.LEVELS
        way: Any = tricks.fool if self.how else tricks.smallest_change

        def work(pixels: np.ndarray, targets: np.ndarray) -> Fooled:
            with steps(self.console, "fooling", count) as tell:
                return way(self.network, pixels, targets, progress=tell, **self.how)

        return tricks.joined(in_parts(work, pixels_of(pictures), targets))

    def _targets(self, pictures: list[Picture], shares: np.ndarray) -> np.ndarray:
        if self.number is not None:
            return classes_of(pictures, shares, self.number)
        return tricks.other_classes(shares.argmax(axis=1), shares.shape[1], self.random)


def classes_of(
    pictures: list[Picture], shares: np.ndarray, number: int | None
) -> np.ndarray:
    """The class to ask for: what was given, else the true one, else the likeliest."""
    likeliest = shares.argmax(axis=1)
    own = [
        int(best) if picture.label is None else picture.label
        for picture, best in zip(pictures, likeliest, strict=True)
    ]
    return np.array(own) if number is None else np.full(len(own), number)


def certainty(network: SqueezeNet, pixels: np.ndarray) -> np.ndarray:
    """How sure the network is of each class. Shapes: (N, H, W, 3) -> (N, K)."""
    scores = in_parts(lambda few: scores_of(network, normalize(few)), pixels)
    return probabilities(np.concatenate(scores))


def pixels_of(pictures: Sequence[Picture]) -> np.ndarray:
    """Side by side. Shapes: -> (N, H, W, 3)."""
    return np.stack([picture.pixels for picture in pictures])


def pixels_in(paths: Sequence[Path]) -> np.ndarray:
    """The pixels of pictures that were saved. Shapes: -> (N, H, W, 3)."""
    return pixels_of([read(path) for path in paths])


def likeliest(shares: np.ndarray) -> str:
    """What the network sees in one picture, and how sure it is."""
    number = int(shares.argmax())
    return named(number, shares[number])


def print_answers(
    pictures: list[Picture], shares: np.ndarray, console: Console
) -> None:
    """Print a table of what the network sees in each picture."""
    table = Table("picture", "the network sees")
    table.add_column("certainty", justify="right")
    for picture, of in zip(pictures, shares, strict=True):
        table.add_section()
        for place, (name, share) in enumerate(best(of)):
            first = picture.name if place == 0 else ""
            table.add_row(first, name, f"{share:.1%}")
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
