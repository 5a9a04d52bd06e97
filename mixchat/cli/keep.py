"""`mixchat rm`, `verify`, `import` and `upgrade`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.options import OutputOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from mixchat.models.importing import How

Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file comes into the store."""

    name: Annotated[str | None, typer.Option(metavar="NAME", help="In the store; by default the file's own.")] = None
    copy: Annotated[bool, typer.Option("--copy", help="Copy it.")] = False
    link: Annotated[bool, typer.Option("--link", help="Hard-link it: no bytes are copied.")] = False
    leave: Annotated[bool, typer.Option("--leave", help="Leave it where it is, and remember that.")] = False
    force: Annotated[bool, typer.Option("--force", help="Take it although it is legacy, or not the known file.")] = (
        False
    )

    def how(self) -> "How":
        """The way that was chosen.

        Raises:
            UsageError: There is more than one.
        """
        ways: list[How] = [way for way in ("copy", "link", "leave") if getattr(self, way)]
        if len(ways) > 1:
            raise UsageError(f"--{ways[0]} and --{ways[1]} are both given.", "Give one of them.")
        return ways[0] if ways else "auto"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _register_rm(app)
    _register_verify(app)
    _register_import(app)
    _register_upgrade(app)


def _register_rm(app: typer.Typer) -> None:
    @command(app, "rm")
    def rm(
        model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that mixchat list shows.")],
        *,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        options: OutputOptions,
    ) -> int:
        """Remove a model from the store, or a download that is not finished."""
        from mixchat.app.keeping import remove_model, to_remove
        from mixchat.cli.wiring import open_house
        from mixchat.ui.keeping import confirmed, removal_question, removed_line
        from mixchat.ui.output import write_text

        with open_house(debug=options.debug) as house:
            what = to_remove(house, model)
            if not yes and not confirmed(removal_question(what), "--yes", sys.stdin, sys.stderr):
                return 0
            remove_model(house, what)
            if not options.quiet:
                write_text(sys.stdout, removed_line(what))
        return 0


def _register_verify(app: typer.Typer) -> None:
    @command(app, "verify")
    def verify(
        model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a path to a .gguf file.")],
        *,
        options: OutputOptions,
    ) -> int:
        """Read every byte of a model and compare its hash with the one that it must have."""
        from mixchat.app.keeping import verify_model
        from mixchat.cli.wiring import open_house
        from mixchat.models.keeping import Verified
        from mixchat.ui.keeping import verified_line
        from mixchat.ui.output import write_text
        from mixchat.ui.progress import shown

        with open_house(debug=options.debug) as house:
            for event in shown(verify_model(house, model), model, sys.stderr, os.environ, options.quiet):
                if isinstance(event, Verified) and not options.quiet:
                    write_text(sys.stdout, verified_line(event))
        return 0


def _register_import(app: typer.Typer) -> None:
    @command(app, "import")
    def import_(
        path: Annotated[Path, typer.Argument(metavar="PATH", help="A .gguf file; of shards the first.")],
        *,
        wanted: ImportOptions,
        options: OutputOptions,
    ) -> int:
        """Take a model file into the store: checked, hashed, and linked, copied or left in place."""
        from mixchat.app.keeping import import_file
        from mixchat.cli.wiring import open_house
        from mixchat.models.importing import Imported, Wish
        from mixchat.ui.keeping import imported_line
        from mixchat.ui.output import write_text
        from mixchat.ui.progress import shown

        wish = Wish(path, wanted.name, wanted.how(), wanted.force)
        with open_house(debug=options.debug) as house:
            for event in shown(import_file(house, wish), path.name, sys.stderr, os.environ, options.quiet):
                if isinstance(event, Imported) and not options.quiet:
                    write_text(sys.stdout, imported_line(event))
        return 0


def _register_upgrade(app: typer.Typer) -> None:
    @command(app, "upgrade")
    def upgrade(
        path: Annotated[Path, typer.Argument(metavar="PATH", help="A .gguf file of before April 2024.")],
        *,
        out: Annotated[
            Path | None, typer.Option("--output", "-o", metavar="OUT", help="By default beside it, with -merged.")
        ] = None,
        force: Force = False,
        options: OutputOptions,
    ) -> int:
        """Rewrite a Mixtral file with one tensor per expert, which llama.cpp no longer loads; nothing is lost."""
        from mixchat.app.upgrading import upgrade_file
        from mixchat.models.upgrade import Upgraded
        from mixchat.ui.keeping import upgraded_line
        from mixchat.ui.output import write_text
        from mixchat.ui.progress import shown

        events = upgrade_file(path, out, force=force)
        for event in shown(events, path.name, sys.stderr, os.environ, options.quiet):
            if isinstance(event, Upgraded) and not options.quiet:
                write_text(sys.stdout, upgraded_line(event))
        return 0
