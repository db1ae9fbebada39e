"""The one error of reading SIP: what is wrong, and what to answer if an answer is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from p2psip.base.errors import RemoteProtocolError

if TYPE_CHECKING:
    from p2psip.sip.message.message import Request

T = TypeVar("T")
U = TypeVar("U")


class BadMessage(RemoteProtocolError):
    """A message, or a field of it, that RFC 3261 does not allow.

    `status` is what a server answers (400, 413, 505 ...). `request` is the message as far as it could
    be read, when it is a request with enough in it to be answered; None means: drop it.
    """

    def __init__(self, what: str, status: int = 400, request: Request | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.status = status
        self.request = request


def readable(read: Callable[[], T], otherwise: U) -> T | U:
    """What a field says, for who can do without it; `otherwise` where it is malformed."""
    try:
        return read()
    except BadMessage:
        return otherwise
