"""The errors of p2psip, as an outline.

* P2psipError
    * LocalMisuse: our caller broke a rule of the API or of a file that a user writes
    * RemoteProtocolError: what came from outside breaks its protocol; it is dropped or answered with an error
    * RequestRejected: what we answer to a request; the class carries the protocol's code
    * RequestFailed: what became of a request of ours; carries its causes as data

A bug of ours is an AssertionError, and nothing catches it to carry on.
"""

from __future__ import annotations

from dataclasses import dataclass


class P2psipError(Exception):
    """The root of every error that this package raises on purpose."""


class LocalMisuse(P2psipError):
    """Our caller broke a rule; the message is one line that says what to do instead."""


class RemoteProtocolError(P2psipError):
    """A remote broke its protocol."""


class RequestRejected(P2psipError):
    """What we answer to a request that we will not serve. Subclasses carry their protocol's code."""

    code: int


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why something failed: who said what, when, over which hop.

    `who` names the speaker as an operator knows it (a Node-ID in hex, an address, "this peer");
    `at` is in seconds of the core's clock; `hop` is what the word came over, empty if local.
    """

    who: str
    what: str
    at: float
    hop: str = ""

    def __str__(self) -> str:
        return f"{self.who}: {self.what}" + (f" (via {self.hop})" if self.hop else "")


class RequestFailed(P2psipError):
    """A request of ours failed; `causes` say why, the first cause first."""

    def __init__(self, what: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__("; ".join([what, *map(str, causes)]))
        self.what = what
        self.causes = causes
