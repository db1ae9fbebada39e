"""Whoever waits for people asks again until they have done their part: nothing is typed for it.

The overlay's operator approves each new member, or somebody signs certificates by hand where the key is, or both.

joining.json    in the directory of the peer that is to be: what has been typed. `p2psip up` goes on from there
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.daemon.state.kept import JOINING_FILE
from p2psip.enrollment.client import EnrollmentRefused
from p2psip.net.disk.files import PRIVATE, read_file, write_file

ASK_AGAIN_S = 5.0
"""So long a member that has just been approved, or whose certificate has just come back, waits at most."""

T = TypeVar("T")


class PendingJoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that waits: by which code, as which name, with which settings."""

    code: str
    name: str
    settings: dict[str, object]


async def until_enrolled(
    attempt: Callable[[], Awaitable[T]],
    told: Callable[[EnrollmentRefused], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """What comes of an attempt to enroll, once nobody is waited for any more; `told` is for whom and what it waits.

    Raises what the attempt raises; but who waits already goes on while the server cannot be reached.
    """
    waits_for: tuple[str, str] | None = None
    while True:
        try:
            return await attempt()
        except EnrollmentRefused as refused:
            if not refused.is_pending:
                raise
            # Said once, unless it is another by now.
            if waits_for != (refused.token, refused.approver):
                told(refused)
            waits_for = (refused.token, refused.approver)
        except RequestFailed:
            if waits_for is None:
                raise
        await sleep(ASK_AGAIN_S)


def save_pending(directory: Path, pending: PendingJoin) -> None:
    """So that a restart goes on with it; for its owner only, as the code is. Raises LocalMisuse."""
    write_file(directory / JOINING_FILE, msgspec.json.encode(pending), PRIVATE)


def load_pending(directory: Path) -> PendingJoin | None:
    """What waits there; None if nothing does. Raises LocalMisuse if it cannot be read."""
    path = directory / JOINING_FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(read_file(path), type=PendingJoin)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LocalMisuse(f"{path}: {error}; delete it, and type `p2psip join` with the code once more") from None


def forget_pending(directory: Path) -> None:
    """It is in. Who was refused is not forgotten: `p2psip up` would take the machine for one that begins an overlay."""
    (directory / JOINING_FILE).unlink(missing_ok=True)
