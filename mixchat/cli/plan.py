"""`mixchat plan`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.options import ModelOption, OutputOptions, PlacementOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mixchat.app.events import Making, Notice
    from mixchat.app.planning import Planned, Quantization


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What only `plan` takes."""

    bandwidth: Annotated[
        str | None,
        typer.Option(metavar="SIZE/s[,SIZE/s]", help="What memory really delivers, RAM first, then each GPU: 60GB/s."),
    ] = None
    all_quants: Annotated[bool, typer.Option("--all-quants", help="Compare the model's quantizations.")] = False
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the layers into a picture.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Another hub; by default HF_ENDPOINT, else Hugging Face.")
    ] = None


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "plan")
    def plan(
        reference: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Which model; see -m.")] = None,
        *,
        model: ModelOption = None,
        only: PlanOptions,
        placement: PlacementOptions,
        output: OutputOptions,
    ) -> int:
        """Say whether a model fits, where every byte goes and how fast it will be; no weights are read or fetched.

        --vram and --ram may describe a machine that is not there.
        """
        from mixchat.app.planning import Asked, compare, plan_model
        from mixchat.cli.request import model_of, settings_of
        from mixchat.cli.wiring import open_house
        from mixchat.plan.units import parse_speeds
        from mixchat.store.output_file import check_output

        settings = settings_of(placement)
        asked = Asked(model_of(settings, reference, model), parse_speeds(only.bandwidth or ""))
        if only.all_quants and only.svg is not None:
            raise UsageError("--svg draws one plan, and --all-quants makes many.", "Give one of them.")
        if only.svg is not None:
            check_output(only.svg)
        with open_house(debug=output.debug, endpoint=only.endpoint) as house:
            if only.all_quants:
                return _show_all(compare(house, settings, asked), asked.reference, only, quiet=output.quiet)
            planned = _planned(plan_model(house, settings, asked), asked.reference, quiet=output.quiet)
        _show(planned, only, force=placement.force)
        return _refuse(planned, as_json=only.as_json) if planned.problem and not placement.force else 0


def _planned(events: "Iterator[Making | Notice | Planned]", name: str, *, quiet: bool) -> "Planned":
    from mixchat.app.planning import Planned
    from mixchat.ui.progress import shown

    (planned,) = [each for each in shown(events, name, sys.stderr, os.environ, quiet) if isinstance(each, Planned)]
    return planned


def _show(planned: "Planned", only: PlanOptions, *, force: bool) -> None:
    """Write the plan; one that does not fit only as JSON, unless it is forced."""
    from mixchat.cli.facts import json_text, plan_facts
    from mixchat.store.output_file import write_output
    from mixchat.ui.console import draws_blocks
    from mixchat.ui.output import print_out, write_text
    from mixchat.ui.plan import PlanView
    from mixchat.ui.plan_svg import plan_svg

    wanted = planned.problem is None or force
    if only.svg is not None and wanted:
        write_output(only.svg, plan_svg(planned).encode(), mode=0o644)
    if only.as_json:
        write_text(sys.stdout, json_text(plan_facts(planned)))
    elif wanted:
        print_out(sys.stdout, os.environ, PlanView(planned, not draws_blocks(sys.stdout, os.environ)))


def _show_all(events: "Iterator[Making | Notice | Quantization]", name: str, only: PlanOptions, *, quiet: bool) -> int:
    from mixchat.app.planning import Quantization
    from mixchat.cli.facts import json_text, quantization_facts
    from mixchat.errors import DoesNotFit
    from mixchat.ui.output import print_out, write_text
    from mixchat.ui.plan import quantization_table
    from mixchat.ui.progress import shown

    rows = [each for each in shown(events, name, sys.stderr, os.environ, quiet) if isinstance(each, Quantization)]
    problems = [row.problem for row in rows if row.problem is not None]
    if len(problems) == len(rows) and not all(isinstance(problem, DoesNotFit) for problem in problems):
        raise next(problem for problem in problems if not isinstance(problem, DoesNotFit))
    if only.as_json:
        write_text(sys.stdout, json_text({"quantizations": [quantization_facts(row) for row in rows]}))
    else:
        print_out(sys.stdout, os.environ, quantization_table(rows))
        _tell_unread(rows)
    return 0 if len(problems) < len(rows) else DoesNotFit.exit_code


def _tell_unread(rows: "Iterable[Quantization]") -> None:
    from mixchat.errors import DoesNotFit
    from mixchat.ui.console import write_line
    from mixchat.ui.sanitize import single_line

    unread = {row.problem.message for row in rows if row.problem and not isinstance(row.problem, DoesNotFit)}
    for message in sorted(unread):
        write_line(sys.stderr, single_line(message))


def _refuse(planned: "Planned", *, as_json: bool) -> int:
    """Show the error, and everything that would help."""
    from mixchat.ui.console import write_line
    from mixchat.ui.errors import show_error
    from mixchat.ui.sanitize import single_line

    error = planned.problem
    assert error is not None  # noqa: S101 - without a plan there is a problem
    show_error(error, sys.stderr, os.environ, as_json=as_json)
    if not as_json:
        changes = [f"With {what.change}: {what.effect}." for what in planned.what_ifs]
        for line in (*error.remedies[1:], *changes):
            write_line(sys.stderr, f"  -> {single_line(line)}")
    return error.exit_code
