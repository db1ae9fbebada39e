"""`p2psip line`: the lines of a peer, one for each user whose phones register here."""

from __future__ import annotations

import typer

from p2psip.cli.line.line_calls import CALLS_HELP, FORWARD_HELP, calls, forward
from p2psip.cli.line.line_commands import ADD_HELP, LIST_HELP, REMOVE_HELP, RENEW_HELP, add, list_lines, remove, renew

HELP = """Look after the lines of a peer: the users whose phones register here.

A line is a key and a certificate for USER@OVERLAY, got with the user's account password, and a phone password, which
is what one types into the phone. A user may have lines at several peers; calls find the phone that came last.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

app.command(help=ADD_HELP)(add)
app.command(name="list", help=LIST_HELP)(list_lines)
app.command(help=REMOVE_HELP)(remove)
app.command(help=RENEW_HELP)(renew)
app.command(help=FORWARD_HELP)(forward)
app.command(help=CALLS_HELP)(calls)
