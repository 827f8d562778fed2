"""The console: rich's, on which every text is filtered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from apps.printable import printable


class Screen(Console):
    """A console on which a text is nothing but text: no markup, emoji or orders.

    Rich's own control codes pass.
    """

    def __init__(self, file: IO[str] | None = None, **settings: Any) -> None:
        super().__init__(
            file=file, markup=False, emoji=False, highlight=False, **settings
        )

    def render_str(self, text: str, **settings: Any) -> Text:
        """Filter a string before its layout, so that every escape has its room."""
        return super().render_str(printable(text, self.encoding), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Filter what comes otherwise: texts that were made elsewhere, and links."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else self._filtered(segment)

    def _filtered(self, segment: Segment) -> Segment:
        style = segment.style
        if style and style.link:
            style = style.update_link(None)
        return Segment(printable(segment.text, self.encoding), style)
