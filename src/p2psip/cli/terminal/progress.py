"""That something is going on, for whoever sits at a terminal; or that it waits for somebody else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2psip.enrollment.client import EnrollmentRefused


def busy(what: str) -> None:
    """Say on stderr what takes a while now; nothing where nobody looks."""
    if sys.stderr.isatty():
        print(f"{what} ...", file=sys.stderr, flush=True)


def tell_of_waiting(*, as_json: bool) -> Callable[[EnrollmentRefused, str], None]:
    """What says that a new member waits to be approved, for whom, and what that one has to type; or to be signed."""

    def told(refused: EnrollmentRefused, user: str) -> None:
        approver = refused.approver
        if as_json:
            facts = {"waiting": True, "user": user, "for": "approval" if approver else "signature"}
            print(json.dumps(facts | {"approver": approver or None}), flush=True)
            return
        if approver:
            print(f"{user} waits for {approver}, who approves new members:", file=sys.stderr)
            print(f"  p2psip members approve {user.partition('@')[0]}", file=sys.stderr)
        else:
            print(f"{user} is granted. Its certificate is signed by hand, elsewhere: at the server", file=sys.stderr)
            print("  p2psip enrollment requests", file=sys.stderr)
        print("This goes on by itself then.", file=sys.stderr, flush=True)

    return told
