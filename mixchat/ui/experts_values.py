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
    """The second text of a comparison."""

    name: str
    report: Report
    comparison: Comparison


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
        all_layers: Tables have every layer instead of the chosen ones and their mean.
        text_lines: Lines of each coloured text on the terminal; None for all.
        letters: Coloured text has the experts' letters below it, as it has without colour.
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

    @property
    def chosen(self) -> tuple[int, ...]:
        """The chosen layers that the report has, in rising order."""
        indices = tuple(layer.layer for layer in self.report.layers)
        if self.layers is None:
            return outer_and_middle(indices)
        return tuple(index for index in indices if index in self.layers)

    @property
    def passages(self) -> tuple[int, ...]:
        """The chosen layers that the text has; none without a text."""
        indices = self.text.indices if self.text else ()
        if self.layers is None:
            return outer_and_middle(indices)
        return tuple(index for index in indices if index in self.layers)

    def rows(self, report: Report) -> tuple[LayerReport, ...]:
        """The layers that tables show of a report."""
        return tuple(layer for layer in report.layers if self.all_layers or layer.layer in self.chosen)
