"""`mixchat rpc-worker`."""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.options import OutputOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from mixchat.engine.endpoint import Endpoint
    from mixchat.engine.events import DeviceInfo
    from mixchat.engine.rpc_server import Offer


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What is served, and where."""

    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Serve this address; by default this machine alone can connect.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(metavar="N", help="Port; 0 takes a free one.")] = 50052
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads; by default one for each core.")] = None
    device: Annotated[str, typer.Option(metavar="NAME", help="By default the first GPU, or else the CPU.")] = ""

    def offer(self) -> "Offer":
        """As the engine takes it.

        Raises:
            UsageError: The number of threads is not positive.
        """
        from mixchat.engine import platform
        from mixchat.engine.endpoint import Endpoint
        from mixchat.engine.rpc_server import Offer

        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} is no number of threads.", "Give --threads 1 or more.")
        return Offer(Endpoint(self.host, self.port), self.threads or platform.physical_cores(), self.device)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "rpc-worker")
    def rpc_worker(*, server: ServerOptions, options: OutputOptions) -> int:
        """Serve this machine as a device for mixchat on another one, to one at a time, until Ctrl-C."""
        from mixchat.engine.rpc_server import RpcServer
        from mixchat.ui.console import write_line
        from mixchat.ui.sanitize import clean

        running = RpcServer(server.offer(), os.environ)
        try:
            _announce(*running.start(), quiet=options.quiet)
            raise running.wait()
        finally:
            if options.debug:
                write_line(sys.stderr, clean(running.log()))
            running.close()


def _announce(endpoint: "Endpoint", device: "DeviceInfo", *, quiet: bool) -> None:
    """Say what is served; a server that others can reach warns even when it is to be quiet."""
    from mixchat.engine.rpc_server import is_loopback, reached_as
    from mixchat.plan.units import format_bytes
    from mixchat.ui.console import write_line
    from mixchat.ui.sanitize import single_line

    if not is_loopback(endpoint):
        write_line(
            sys.stderr,
            f"WARNING: whoever can reach {reached_as(endpoint)} can use this machine, read what is computed here and "
            "crash it. llama.cpp's RPC protocol has no authentication and no encryption: serve trusted networks only.",
        )
    if not quiet:
        what = f"{device.name} ({device.description}), {format_bytes(device.free)} free of {format_bytes(device.total)}"
        there = f"mixchat chat MODEL --rpc {reached_as(endpoint)}"
        write_line(sys.stderr, single_line(f"Serving {what}, at {endpoint}. On the other machine: {there}"))
