"""What is shown of a model's routing.

Knows which reports and texts belong together and which layers are chosen; refuses to know how they are drawn.
"""

from dataclasses import dataclass

from mixchat.routing.comparing import Comparison
from mixchat.routing.routed_text import RoutedText, outer_and_middle
from mixchat.routing.tally import LayerReport, Report

TEXT_LINES = 8


@dataclass(frozen=True, slots=True)
class Versus:
    """The second text of a comparison.

    Attributes:
        name: What was routed.
        report: What the routers did with it.
        comparison: How it differs from the first.
        complete: It was not interrupted before its end.
    """

    name: str
    report: Report
    comparison: Comparison
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ExpertsView:
    """All that is shown.

    Attributes:
        model: Its name.
        name: What was routed: a file, a pattern, "the last turn"; nothing for a prompt.
        report: What the routers did with it.
        text: The text token by token, if it is short enough to be shown.
        versus: A second text that it is compared with.
        layers: The layers to show; None for the first, the middle and the last with a router.
        all_layers: Every layer is chosen, whatever `layers` says.
        text_lines: Lines of each coloured text on the terminal; None for all.
        letters: Coloured text has the experts' letters below it, as it has without colour.
        complete: The text was not interrupted before its end.
    """

    model: str
    name: str
    report: Report
    text: RoutedText | None = None
    versus: Versus | None = None
    layers: tuple[int, ...] | None = None
    all_layers: bool = False
    text_lines: int | None = TEXT_LINES
    letters: bool = False
    complete: bool = True

    @property
    def chosen(self) -> tuple[int, ...]:
        """The chosen layers that the report has, in rising order."""
        return self._chosen(tuple(layer.layer for layer in self.report.layers))

    @property
    def passages(self) -> tuple[int, ...]:
        """The chosen layers that the text has; none without a text."""
        return self._chosen(self.text.indices if self.text else ())

    @property
    def beginning(self) -> str:
        """A sentence where the report counts more tokens than the text has; else nothing."""
        shown = len(self.text.tokens) if self.text else 0
        return f"The text below is that of the first {shown} tokens." if 0 < shown < self.report.tokens else ""

    def _chosen(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        if self.all_layers:
            return indices
        if self.layers is None:
            return outer_and_middle(indices)
        return tuple(index for index in indices if index in self.layers)

    def rows(self, report: Report) -> tuple[LayerReport, ...]:
        """The layers that tables show of a report."""
        return tuple(layer for layer in report.layers if self.all_layers or layer.layer in self.chosen)
