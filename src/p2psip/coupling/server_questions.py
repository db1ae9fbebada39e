"""The questions of a peer's SIP server: which of them the overlay answers, and which are the driver's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from p2psip.base.effects import Ask, CancelAsk, Effect
from p2psip.coupling.callers import Callers
from p2psip.coupling.lines import Publisher
from p2psip.coupling.locating import Locator
from p2psip.coupling.mailbox.mailboxes import Mailboxes
from p2psip.coupling.peer_flows import PeerFlows
from p2psip.coupling.services.service_users import ServiceUsers
from p2psip.sip.entities.mailbox.mailbox_questions import MAILBOX_QUESTIONS
from p2psip.sip.entities.questions import (
    FindCredential,
    FindGateway,
    FindMixer,
    LocateUser,
    ResolveUri,
    SignClaims,
    VerifySignature,
)
from p2psip.sip.entities.server import SipServer

ANSWERED_HERE = (
    LocateUser,
    FindGateway,
    FindMixer,
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


@dataclass(frozen=True, slots=True)
class OverlayAnswers:
    """The parts of a peer that answer the questions of its SIP server."""

    server: SipServer
    publisher: Publisher
    locator: Locator
    users: ServiceUsers
    flows: PeerFlows
    callers: Callers
    mailboxes: Mailboxes
    overlay: str

    def answer(self, token: int, question: object, now: float) -> None:
        """One of ANSWERED_HERE: at once, or when the overlay has been asked."""
        if isinstance(question, MAILBOX_QUESTIONS):
            self.mailboxes.ask(token, question, now)
            return
        match question:
            case LocateUser():
                self.locator.locate(token, question, now)
            case FindGateway() | FindMixer():
                self.users.locate(token, question, now)
            case FindCredential(user_name, _, domain):
                self.server.handle_answer(token, self.publisher.credential(user_name, domain), now)
            case ResolveUri(uri):
                self.flows.resolve(uri, self.overlay, token, now)
            case SignClaims():
                self.server.handle_answer(token, self.callers.introduced(self.callers.sign(question, now), now), now)
            case VerifySignature():
                self.callers.verify(token, question, now)

    def cancel(self, token: int) -> None:
        """Nobody waits for that any more."""
        for part in (self.locator, self.callers, self.users, self.flows, self.mailboxes):
            part.cancel(token)
