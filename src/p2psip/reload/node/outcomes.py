"""What is over, requests of a node above all, goes to the part that began it."""

from __future__ import annotations

from p2psip.reload.node.connecting.attach import AttachContext
from p2psip.reload.node.connecting.nat.surveying import OnBehalfContext, SurveyContext
from p2psip.reload.node.connecting.twins import TwinContext
from p2psip.reload.node.data.lending.borrowing import LentFetchContext
from p2psip.reload.node.data.lending.lending import OfferContext
from p2psip.reload.node.data.lending.placing import LentStoreContext
from p2psip.reload.node.data.moving import AdoptContext, TransferContext
from p2psip.reload.node.data.own_data import CommandContext, CompletionContext
from p2psip.reload.node.keeping.certificate_keeper import CertificateContext
from p2psip.reload.node.keeping.config_updates import ConfigUpdateContext
from p2psip.reload.node.parts import ConnectingRoom, DataRoom, Ground, KeepingRoom
from p2psip.reload.node.relays.relay_terms import RelayContext
from p2psip.reload.node.relays.relaying import Relaying
from p2psip.reload.node.spreading.spreading import SpreadContext
from p2psip.reload.node.tunnelling.tunnels import TunnelContext
from p2psip.reload.node.upkeep import AskContext, FindContext, ProbeContext, TellContext
from p2psip.reload.paths.values import Purpose
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.transport import Finished


class Outcomes:
    """Tells the parts of one node what has become of their requests."""

    def __init__(
        self, ground: Ground, connecting: ConnectingRoom, room: DataRoom, keeping: KeepingRoom, relaying: Relaying
    ) -> None:
        self._admission, self._upkeep = ground.admission, ground.upkeep
        self._intents, self._applications = connecting.intents, connecting.applications
        self._bootstrap, self._tunnels = connecting.bootstrap, connecting.tunnels
        self._surveying = connecting.surveying
        self._moving, self._data = room.moving, room.data
        self._borrowing, self._lending = room.borrowing, room.lending
        self._config_updates, self._certificates = keeping.config_updates, keeping.certificates
        self._spreading = keeping.spreading
        self._relaying = relaying

    def handle(self, finished: Finished, now: float) -> None:
        """A request is over."""
        match finished.context:
            case AttachContext() as context:
                if isinstance(finished.outcome, Answer):
                    self._admission.attached(finished.outcome.signer.node_id)
                asked_by = self._intents if context.purpose is Purpose.RELOAD else self._applications
                asked_by.handle_outcome(context, finished.outcome, now)
                self._bootstrap.remember_contacts()
            case AskContext() | TellContext() | FindContext() | ProbeContext() as context:
                self._upkeep.handle_outcome(context, finished.outcome, now)
            case TwinContext():
                pass
            case TunnelContext() as context:
                self._tunnels.handle_outcome(context, finished.outcome, now)
            case SurveyContext() | OnBehalfContext() as context:
                self._surveying.handle_outcome(context, finished.outcome, now)
            case TransferContext() | AdoptContext() as context:
                self._moving.handle_outcome(context, finished.outcome, now)
            case LentStoreContext() | LentFetchContext() as context:
                self._borrowing.handle_outcome(context, finished.outcome, now)
            case OfferContext() as context:
                self._lending.handle_outcome(context, finished.outcome, now)
            case ConfigUpdateContext() as context:
                self._config_updates.handle_outcome(context, finished.outcome, now)
            case CertificateContext() as context:
                self._certificates.handle_outcome(context, finished.outcome, now)
            case SpreadContext() as context:
                self._spreading.handle_outcome(context, finished.outcome, now)
            case RelayContext() as context:
                self._relaying.handle_outcome(context, finished.outcome, now)
            case context:
                assert isinstance(context, CommandContext | CompletionContext)
                self._data.handle_outcome(context, finished.outcome, now)
