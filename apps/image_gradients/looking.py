"""Many pictures, looked into a page at a time, so that memory stays flat.

Glossary of shapes: N pictures of a page, (H, W) picture, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from apps.image_gradients.gallery import ON_PAGE, Part, best, likeliest
from apps.image_gradients.gradients import in_parts, probabilities, scores_of
from apps.image_gradients.pictures import Batch, Pictures, read
from apps.image_gradients.saliency import Attribution, Method
from apps.image_gradients.settings import Fooling
from apps.image_gradients.squeezenet import SqueezeNet


@dataclass(frozen=True)
class Looker:
    """Looks into a network for pictures, and says on a console what it finds.

    Pages go into `folder`; `number` is the class that was asked for, if one was.
    """

    network: SqueezeNet
    pictures: Pictures
    console: Console
    folder: Path
    number: int | None
    seed: int

    def classify(self) -> None:
        """Print what the network sees in each picture."""
        for batch, _ in self._pages():
            self._print_answers(batch, self._certainty(batch.x))

    def draw(self, methods: Sequence[str], check: bool) -> None:
        """Draw maps of the class asked for, else each picture's own or likeliest."""
        generator = mg.Generator(self.seed)  # of the noise of all pictures
        for batch, part in self._pages():
            p = self._certainty(batch.x)
            asked = self._classes(batch, p)
            maps, attributions = self._maps(batch.x, asked, methods, generator)
            checked = self._checked(batch.x, asked) if check else []
            self._print_answers(batch, p)
            page = gallery.saliency_page(
                self.folder, batch, asked, p, maps, attributions, checked, part
            )
            say(f"Figures are in {self.folder}; the page: {page}", self.console)

    def fool(self, how: Fooling | None) -> None:
        """Fool the network, by the smallest change unless told `how`."""
        random = np.random.default_rng(self.seed)  # of all pictures' targets
        levels, right = [], 0
        for batch, part in self._pages():
            p = self._certainty(batch.x)
            targets = self._classes(batch, p)
            if self.number is None:
                targets = tricks.other_classes(p.argmax(axis=1), p.shape[1], random)
            fooled = self._fooled(batch.pixels, targets, how)
            after = self._show_fooled(batch, fooled, p, part)
            levels += fooled.levels.tolist()
            right += int((after.argmax(axis=1) == targets).sum())
        say(
            f"{right} of {len(levels)} fool the network when they are read back; "
            f"median change at most {np.median(levels):g}/255",
            self.console,
        )

    def _show_fooled(
        self, batch: Batch, fooled: tricks.Fooled, before: np.ndarray, part: Part
    ) -> np.ndarray:
        """Save what fools the network; give the probabilities when it is read back."""
        paths = gallery.save_all(self.folder, batch.names, fooled.after, part)
        after = self._certainty(Batch.of([read(path) for path in paths]).x)
        page = gallery.fooling_page(self.folder, batch, fooled, before, after, part)
        for i, name in enumerate(batch.names):
            line = f"{name}: {likeliest(before[i])} -> {likeliest(after[i])}, "
            taken = f"{fooled.steps[i]} steps, at most {fooled.levels[i]}/255"
            say(line + taken, self.console)
        say(f"Pictures are in {self.folder}; the page: {page}", self.console)
        return after

    def _pages(self) -> Iterator[tuple[Batch, Part]]:
        """Read as many pictures at a time as stand on a page, each with its page."""
        for number, few in enumerate(self.pictures.parts(ON_PAGE)):
            yield Batch.of(few), Part(number * ON_PAGE, len(self.pictures))

    def _classes(self, batch: Batch, p: np.ndarray) -> np.ndarray:
        """The class to ask for: the given, else the true, else the likeliest one."""
        if self.number is not None:
            return np.full(len(p), self.number)
        pairs = zip(batch.labels, p.argmax(axis=1), strict=True)
        return np.array([best if label is None else label for label, best in pairs])

    def _certainty(self, x: np.ndarray) -> np.ndarray:
        """The network's probabilities of classes. Shapes: (N, 3, H, W) -> (N, K)."""
        scores = in_parts(partial(scores_of, self.network), x)
        return probabilities(np.concatenate(scores))

    def _maps(
        self,
        x: np.ndarray,
        classes: np.ndarray,
        names: Sequence[str],
        generator: mg.Generator,
    ) -> tuple[dict[str, np.ndarray], list[Attribution]]:
        methods: dict[str, Any] = saliency.METHODS | {
            "integrated": saliency.integrated_gradients,
            "smoothgrad": partial(saliency.smooth_grad, generator=generator),
        }
        maps: dict[str, np.ndarray] = {}
        attributions: list[Attribution] = []
        for name in names:
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

    def _fooled(
        self, pixels: np.ndarray, targets: np.ndarray, how: Fooling | None
    ) -> tricks.Fooled:
        way: Any = tricks.smallest_change
        count = tricks.TRIES * tricks.LEVELS
        if how:
            way = partial(tricks.fool, aim=how.aim, rate=how.rate, most=how.steps)
            count = how.steps

        def work(pixels: np.ndarray, targets: np.ndarray) -> tricks.Fooled:
            with steps(self.console, "fooling", count) as tell:
                return way(self.network, pixels, targets, progress=tell)

        return tricks.joined(in_parts(work, pixels, targets))

    def _print_answers(self, batch: Batch, p: np.ndarray) -> None:
        table = Table("picture", "the network sees")
        table.add_column("certainty", justify="right")
        for name, row in zip(batch.names, p, strict=True):
            table.add_section()
            for rank, (seen, of) in enumerate(best(row)):
                table.add_row(name if rank == 0 else "", seen, f"{of:.1%}")
        self.console.print(table)


def _by_parts(method: Method) -> Method:
    """A method that looks into a few pictures at once only."""
    return lambda network, *given: np.concatenate(
        in_parts(partial(method, network), *given)
    )


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
