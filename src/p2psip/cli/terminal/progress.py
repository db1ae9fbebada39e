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
    """What says that a new member waits to be approved, for whom, and what that one has to type."""

    def told(refused: EnrollmentRefused, user: str) -> None:
        if as_json:
            print(json.dumps({"waiting": True, "user": user, "approver": refused.approver}), flush=True)
            return
        print(f"{user} waits for {refused.approver}, who approves new members:", file=sys.stderr)
        print(f"  p2psip members approve {user.partition('@')[0]}", file=sys.stderr)
        print("This goes on by itself then.", file=sys.stderr, flush=True)

    return told
