"""`p2psip enrollment`: the server at which members enroll."""

from __future__ import annotations

import typer

from p2psip.cli.enrollment.audit import AUDIT_HELP, audit
from p2psip.cli.enrollment.serving import DELEGATE_HELP, SERVE_HELP, delegate, serve
from p2psip.cli.enrollment.signing import (
    PROTECT_HELP,
    REQUESTS_HELP,
    RETURN_HELP,
    SIGN_HELP,
    protect,
    requests,
    return_,
    sign,
)
from p2psip.cli.enrollment.store import BACKUP_HELP, MOVE_HELP, RESTORE_HELP, backup, move, restore

HELP = "Run the server at which people and peers become members of an overlay."

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

app.command(help=SERVE_HELP)(serve)
app.command(help=DELEGATE_HELP)(delegate)
app.command(help=PROTECT_HELP)(protect)
app.command(help=REQUESTS_HELP)(requests)
app.command(help=SIGN_HELP)(sign)
app.command(name="return", help=RETURN_HELP)(return_)
app.command(help=AUDIT_HELP)(audit)
app.command(help=BACKUP_HELP)(backup)
app.command(help=RESTORE_HELP)(restore)
app.command(help=MOVE_HELP)(move)
