"""Explanation of a verdict: what the judge attended to, and which words pulled it.

Attention says from which words each word takes something; the gradient, how the verdict
would move if a word's vector did. Neither is a proof of what the network "thinks".
Sources: Vaswani et al., Attention Is All You Need (2017), figure 3; Li et al.,
Visualizing and Understanding Neural Models in NLP (2016), section 5 (saliency).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import minigrad as mg
from apps.cola.reading import Reading
from apps.cola.train import Trained
from apps.console import say
from apps.printable import printable
from apps.report import COLOURS
from apps.tables import Table, print_table

# Wide enough to be legible on a phone.
COLUMNS, SIDE, LAST = 2, 4.4, 3.0  # heads side by side; inches; of the last row
# More would take gigabytes to draw, and be illegible.
MOST_POSITIONS, MOST_HEADS, LONGEST = 64, 64, 24  # letters


@dataclass(frozen=True)
class Verdict:
    """A sentence, how likely it is to be acceptable, and why.

    Shapes: attention, for each layer, (H, T, T), each query's weights over the keys;
    pull (T,), how far the logarithm of the odds would move, at most, with a word's
    vector, as a fraction of all words' together (for runs of words, what each adds or
    takes away).
    """

    text: str
    reading: Reading
    probability: float
    attention: Sequence[np.ndarray]
    pull: np.ndarray

    @property
    def acceptable(self) -> bool:
        """What the judge says."""
        return self.probability >= 0.5

    @property
    def told(self) -> str:
        """The verdict in words."""
        word = "acceptable" if self.acceptable else "not acceptable"
        return f"{word} (probability of being acceptable {self.probability:.2f})"

    @property
    def warnings(self) -> list[str]:
        """What the judge did not read."""
        reading, told = self.reading, []
        if reading.cut:
            told.append(
                f"The sentence is too long: its last {reading.cut} words were cut off."
            )
        if reading.unknown == reading.words:
            told.append("None of its words is known, so this is a guess.")
        elif reading.unknown:
            told.append(f"Of its words, {reading.unknown} are not known.")
        if len(reading.tokens) > MOST_POSITIONS:
            told.append(
                f"Of {len(reading.tokens):,} positions, the {MOST_POSITIONS} that pull "
                "most are shown."
            )
        return told

    @property
    def outline(self) -> Outline:
        """What can be shown of it."""
        shown = np.sort(np.argsort(-self.pull, kind="stable")[:MOST_POSITIONS])
        return Outline(
            [_cut(self.reading.tokens[position]) for position in shown],
            self.pull[shown],
            [layer[:, shown][:, :, shown] for layer in self.attention],
        )


class Outline(NamedTuple):
    """The positions of a verdict that are shown, long words cut.

    Shapes: P positions; pull (P,), attention, for each layer, (H, P, P).
    """

    tokens: Sequence[str]
    pull: np.ndarray
    attention: Sequence[np.ndarray]


def _cut(token: str) -> str:
    return token if len(token) <= LONGEST else f"{token[: LONGEST - 1]}…"


def judge(trained: Trained, text: str) -> Verdict:
    """Judge one sentence and see how. Raises: SentenceError for one without words."""
    reading = trained.reader.read(text)
    ids = trained.reader.rows([reading])
    model, length = trained.model.eval(), len(reading.ids)
    x = model.embed(ids).detach()
    vectors = mg.Tensor(x.numpy(), device=x.device, requires_grad=True)
    odds = model.judge(vectors, ids)
    (gradient,) = mg.grad(odds.sum(), [vectors])
    pulls = model.pull(vectors.numpy(), gradient.numpy())[0, :length]
    attention = [layer[0, :, :length, :length] for layer in model.attention(ids)]
    probability = mg.sigmoid(odds).numpy()[0]
    pull = pulls / max(pulls.sum(), np.finfo(pulls.dtype).tiny)
    return Verdict(text, reading, float(probability), attention, pull)


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the verdict, and for each word its pull and what it attends to."""
    for line in (verdict.text, verdict.told, *verdict.warnings):
        say(line, console)
    tokens, pull, attention = verdict.outline
    rows = [
        (token, f"{_bar(own, pull.max())} {own:.0%}")
        for token, own in zip(tokens, pull, strict=True)
    ]
    print_table(Table(("word", "pull on the verdict"), rows), console)
    for number, layer in enumerate(attention, start=1):
        say(f"What each word attends to most, in layer {number}:", console)
        print_table(_attended(layer, tokens), console)


def _attended(layer: np.ndarray, tokens: Sequence[str]) -> Table:
    """The key of each query's largest weight, head by head."""
    heading = ("word", *(f"head {h}" for h in range(1, len(layer) + 1)))
    best = layer.argmax(axis=-1)
    rows = [
        (
            token,
            *(
                f"{tokens[key]} {head[row, key]:.0%}"
                for head, key in zip(layer, best[:, row], strict=True)
            ),
        )
        for row, token in enumerate(tokens)
    ]
    return Table(heading, rows)


def _bar(part: float, largest: float) -> str:
    full = round(8 * part / max(largest, 1e-12))
    return "█" * full + " " * (8 - full)


def draw(verdict: Verdict) -> Figure:
    """Draw each head's attention, and how far each word pulls the verdict."""
    outline = verdict.outline
    # Axes create their labels when they are drawn.
    tokens = [printable(token) for token in outline.tokens]
    heads = [
        (f"layer {number}, head {h}", head)
        for number, layer in enumerate(outline.attention, start=1)
        for h, head in enumerate(layer, start=1)
    ][:MOST_HEADS]
    rows = -(-len(heads) // COLUMNS)
    figure = Figure((COLUMNS * SIDE, rows * SIDE + LAST), layout="constrained")
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[*[SIDE] * rows, LAST])
    font, ticks = min(11, 40 * SIDE / max(1, len(tokens))), range(len(tokens))
    for number, (name, head) in enumerate(heads):
        axis = figure.add_subplot(grid[divmod(number, COLUMNS)])
        axis.imshow(head, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(name, fontsize=12)
        axis.set_xticks(ticks, tokens, rotation=90, fontsize=font)
        axis.set_yticks(ticks, tokens, fontsize=font)
    axis = figure.add_subplot(grid[-1, :])
    axis.bar(ticks, outline.pull, color=COLOURS[0])
    axis.set_xticks(ticks, tokens, rotation=90, fontsize=font)
    axis.set_ylabel("pull", fontsize=12)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
