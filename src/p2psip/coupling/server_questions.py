"""The questions of a peer's SIP server: which of them the overlay answers, and which are the driver's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from p2psip.base.effects import Ask, CancelAsk, Effect
from p2psip.sip.entities.mailbox.mailbox_questions import MAILBOX_QUESTIONS
from p2psip.sip.entities.questions import (
    FindCredential,
    FindGateway,
    LocateUser,
    ResolveUri,
    SignClaims,
    VerifySignature,
)

ANSWERED_HERE = (
    LocateUser,
    FindGateway,
    FindCredential,
    ResolveUri,
    SignClaims,
    VerifySignature,
    *MAILBOX_QUESTIONS,
)
"""The questions of the SIP server that the overlay answers."""


@dataclass(frozen=True, slots=True)
class ServerCancels(Effect):
    """The SIP server takes a question back."""

    token: int


@dataclass(frozen=True, slots=True)
class ServerAsks(Effect):
    """A question of the SIP server, which is answered in here."""

    token: int
    question: object


def of_server(effect: Effect) -> Effect:
    """What the SIP server wants, as the peer carries it: questions for the overlay, those of agents for the driver."""
    match effect:
        case Ask(token, question) if isinstance(question, ANSWERED_HERE):
            return ServerAsks(token, question)
        case Ask(token):
            # What agents ask.
            return replace(effect, token=-token)
        case CancelAsk(token):
            return ServerCancels(token)
    return effect
