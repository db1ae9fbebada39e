"""`p2psip bootstrap`: a server that is no peer, and leads who joins to one."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = "Run a bootstrap server: no peer itself, it leads those who join to peers that it knows."

SERVE_HELP = """Run a bootstrap server, in the foreground: a stable address at which an overlay is found.

It is no member and has no certificate. Who connects is led to one of the peers, another each time, and to the next one
if that does not answer; what the two say to each other passes through, encrypted between them. Put its address into the
configuration in the place of the peers' own, which may change then. For links over TLS (TCP). When it takes connections
it prints one line: "ready ADDRESS:PORT". SIGTERM or Ctrl-C ends it.

Example:

\b
    p2psip bootstrap serve --listen 203.0.113.7:6084 192.168.7.2:6084 192.168.9.2:6084
    p2psip overlay set ./club --sign bootstrap-node+=203.0.113.7:6084
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.callback()
def _bootstrap() -> None:
    """There is one command, and it has a name."""


@app.command(help=SERVE_HELP)
def serve(
    peers: Annotated[list[str], typer.Argument(metavar="ADDRESS:PORT...", help="Where peers of the overlay are.")],
    listen: Annotated[str, typer.Option(metavar="ADDRESS:PORT", help="Where who joins comes.")] = "0.0.0.0:6084",
    log_format: Annotated[str, typer.Option(metavar="text|json", help="How to log.")] = "text",
) -> None:
    """Serve until told to stop."""
    import asyncio

    from p2psip.base.address import Address
    from p2psip.daemon.log.log import log_to_stderr
    from p2psip.daemon.roles.introducing import serve_bootstrap
    from p2psip.net.sockets.addresses import ip_port
    from p2psip.reload.config.configuration import BOOTSTRAP_PORT

    known = [Address(*ip_port(peer, BOOTSTRAP_PORT)) for peer in peers]
    local = Address(*ip_port(listen, BOOTSTRAP_PORT))
    log_to_stderr(log_format)
    asyncio.run(serve_bootstrap(local, known))
