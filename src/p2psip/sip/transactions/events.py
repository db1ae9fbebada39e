"""What the transaction layer tells its user (RFC 3261 section 5: the TU)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2psip.base.frozen import frozen
from p2psip.sip.message.message import Request, Response
from p2psip.sip.transports.arrivals import FlowDown
from p2psip.sip.transports.hops import Source


@frozen
class RequestArrived:
    """A new request, to be answered with `respond(transaction, ...)`.

    For a CANCEL, `cancels` is the server transaction it means; None if there is none (answer 481).
    """

    transaction: int
    request: Request
    source: Source
    cancels: int | None = None


@dataclass(frozen=True, slots=True)
class AckArrived:
    """An ACK to a 2xx: it belongs to the dialog, not to a transaction, and nothing answers it."""

    request: Request
    source: Source


@frozen
class ResponseArrived:
    """A response to a request of ours; `context` is what its sender has given with it, here and below."""

    transaction: int
    response: Response
    context: object = None


class Failure(Enum):
    """Why there is no response."""

    TIMEOUT = "no answer"
    TRANSPORT = "not reachable"


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """A request of ours gets no response, or a response of ours no ACK."""

    transaction: int
    failure: Failure
    what: str
    context: object = None


@frozen
class TransactionEnded:
    """A transaction is forgotten; nothing more comes of it."""

    transaction: int
    context: object = None


TuEvent: TypeAlias = RequestArrived | AckArrived | ResponseArrived | TransactionFailed | TransactionEnded | FlowDown
