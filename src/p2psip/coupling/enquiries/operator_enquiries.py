"""What an operator wants of a running peer, and asks: the answer is told later, with the context that was given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from p2psip.base.ids import NodeId, ResourceId
from p2psip.coupling.enquiries.lookup import Lookups
from p2psip.coupling.enquiries.tracing import Traces
from p2psip.coupling.mailbox.mailboxes import Mailboxes
from p2psip.coupling.numbers.dundi_numbers import DundiNumbers
from p2psip.coupling.numbers.gateways import Gateways
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.uri import SipUri


class OperatorEnquiries(ABC):
    """The part of a peer that sees to it."""

    dundi: DundiNumbers
    gateways: Gateways
    lookups: Lookups
    mailboxes: Mailboxes
    node: Node
    server: SipServer
    services: ServiceDiscovery
    traces: Traces

    def announce(self, name: str, capacity: int, policy: str, now: float) -> None:
        """Announce a service of this peer until it stops. Raises LocalMisuse."""
        self.services.register(name, now, capacity=capacity, policy=policy)
        self._settle(now)

    def withdraw(self, name: str, now: float) -> None:
        """Announce a service no more."""
        self.services.unregister(name, now)
        self._settle(now)

    def accept_kinds(self, blocks: Sequence[bytes], now: float) -> None:
        """Kind-blocks from the operator. Raises a Rejection."""
        self.node.accept_kinds(blocks, now)
        self._settle(now)

    def find_services(self, name: str, near: bytes, want: int, context: object, now: float) -> None:
        """Search providers of a service; `ServicesFound(context, ...)` follows. Raises LocalMisuse."""
        self.services.find(name, near, want, context, now)
        self._settle(now)

    def look_for_gateways(self, number: str, context: object, now: float, *, is_emergency: bool) -> None:
        """Find the gateways to a number; `GatewaysKnown(context, ...)` follows."""
        self.gateways.look_for(number, context, now, is_emergency=is_emergency)
        self._settle(now)

    def look_for_neighbours(self, number: str, context: object, now: float) -> None:
        """Ask neighbours by DUNDi for a number; `NumberSought(context, ...)` follows."""
        self.dundi.look_for(number, context, now)
        self._settle(now)

    def look_up(self, aor: str, context: object, now: float) -> None:
        """Look a canonical AoR up; `LookedUp(context, ...)` follows."""
        self.lookups.begin(aor, context, now)
        self._settle(now)

    def find_servers(self, uri: SipUri, context: object, now: float) -> None:
        """Search the servers of another domain; `ServersFound(context, ...)` follows."""
        self.server.find_servers(uri, context, now)
        self._settle(now)

    def trace(self, target: NodeId | ResourceId, context: object, now: float) -> None:
        """Trace the way to a node or a place; `Traced(context, ...)` follows."""
        self.traces.begin(target, context, now)
        self._settle(now)

    def ask_mailbox(self, question: object, context: object, now: float) -> None:
        """One of `MAILBOX_QUESTIONS`, about a line of this peer; `MailboxAnswered(context, ...)` follows."""
        self.mailboxes.ask(context, question, now)
        self._settle(now)

    @abstractmethod
    def _settle(self, now: float) -> None:
        """Carry on what has been said, until all is quiet."""
