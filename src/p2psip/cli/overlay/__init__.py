"""`p2psip overlay`: found an overlay, show and change its configuration, hand it round."""

from __future__ import annotations

import typer

from p2psip.cli.overlay.change import SET_HELP, SIGN_HELP, change, sign
from p2psip.cli.overlay.create import CREATE_HELP, create
from p2psip.cli.overlay.push import PUSH_HELP, push
from p2psip.cli.overlay.show import SHOW_HELP, show

HELP = """Found an overlay and look after its configuration.

An overlay is a directory on one machine (its administrator's): the trust anchor, whose fingerprint is all that
others need to know; the signed configuration; the accounts. Peers need that machine to become members and to
renew their certificates once a year, never to make calls.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

app.command(help=CREATE_HELP)(create)
app.command(help=SHOW_HELP)(show)
app.command(name="set", help=SET_HELP)(change)
app.command(help=SIGN_HELP)(sign)
app.command(help=PUSH_HELP)(push)
