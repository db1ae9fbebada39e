"""The same Node-ID twice: a state directory was copied, and two machines run with it.

RFC 6940 knows no such case. Theory of operation: others are linked with both and send to whichever came last. So when a
link was lost, which happens to both as the other's takes its place, we send an Attach to our own Node-ID by way of who
has closed it, and then of neighbours. It comes back to us, or to the other machine, which knows that it did not send
it, and dials us. Then both know of each other, and where the other is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.connecting.attach import attach_body
from p2psip.reload.node.connecting.bootstrap import Bootstrapping
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.connecting.intents import Intents
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.values import Parameters, Purpose, Session
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import AttachReqAns
from p2psip.reload.wire.rejections import InvalidMessage

LOOK_AFTER_S = 1.0
"""How long after a link was lost we look; what is lost together is one occasion."""

LOOK_AGAIN_S = 3.0
"""How often we look again: LOOKS times, as it takes turns who is linked last, and while there is another machine."""

LOOKS = 8
PRESENT_S = 30.0
"""How long after it was met last the other machine may be there."""

WARN_EVERY_S = 60.0
ECHO_S = 10.0
"""Where we have dialled ourselves, the other end of that link comes up within this."""

WAYS = 2
"""By way of so many at once: each may have another idea of who we are."""

JUDGE_S = 1.0
"""While we dial to find the overlay, it may be ourselves who has dialled us: after this we know more."""


@dataclass(frozen=True, slots=True)
class SameNodeId(Effect):
    """Another machine has our Node-ID, or had until a moment ago: what it has said of us may have to be put right."""

    remote: str


@dataclass(frozen=True, slots=True)
class TwinContext:
    """An Attach to ourselves, or the connection with whoever has sent one: nothing depends on it."""


class Twins:
    """What one node knows of others with its own Node-ID."""

    def __init__(
        self,
        exchange: Exchange,
        connections: ConnectionTable,
        whereabouts: Whereabouts,
        intents: Intents,
        topology: Topology,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._whereabouts = whereabouts
        self._intents = intents
        self._topology = topology
        self._node_id = exchange.identity.node_id
        self._remote = ""
        self._met_at: float | None = None
        self._warned_at: float | None = None
        self._looks = 0
        self._asked = 0
        """By way of how many that have closed a link we have asked since the last look."""
        self._dialled_from = ""
        self._reached_at = -math.inf
        self._timers: Timers[str] = exchange.queue.scope()

    def at(self, now: float) -> str:
        """Where another machine with our Node-ID is, or was until a moment ago; empty if there is none."""
        return self._remote if self._is_present(now) else ""

    def look(self, lost: NodeId, now: float) -> None:
        """A peer has closed a link with us: see who is at the other end of its newest.

        Where many do at once, as when the ring changes, the first few will do.
        """
        if self._asked < WAYS:
            self._asked += 1
            self._ask(lost, now)
        self._looks = LOOKS
        if "look" not in self._timers:
            self._timers.set("look", now + LOOK_AFTER_S, "look for our own Node-ID")

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for due in self._timers.pop_due(now):
            if due == "look":
                self._look_again(now)
            else:
                self._judge(now)

    def _look_again(self, now: float) -> None:
        """See whether somebody else gets what is for us."""
        self._asked = 0
        for node in self._ways()[:WAYS]:
            self._ask(node, now)
        self._looks -= 1
        if self._is_present(now):
            self._exchange.emit(SameNodeId(self._remote))
            # It has had answers to us, and may be gone.
            self._topology.hurry(now)
        if self._looks > 0 or self._is_present(now):
            self._timers.set("look", now + LOOK_AGAIN_S, "look for our own Node-ID again")

    def handle_attach(self, request: Received, body: AttachReqAns, now: float) -> None:
        """An Attach with our signature: one of ours that has come round, or another's. Raises a Rejection."""
        transaction_id = request.message.header.transaction_id
        if self._exchange.is_own_attach(transaction_id):
            # It has served its purpose: nobody waits for an answer.
            self._intents.came_round(transaction_id, now)
            return
        candidates = self._whereabouts.dialable(Purpose.RELOAD, Parameters.of(body))
        self._met(str(candidates[0].address) if candidates else "an address that is not known", now)
        # So that it knows as well: our answer would come back to whichever of us is linked last.
        self._connections.dial(Session(Purpose.RELOAD, candidates), TwinContext(), now)
        raise InvalidMessage("another machine has this Node-ID")

    def handle_dialled(self, remote: Address, now: float) -> None:
        """Whoever has dialled us has our certificate: another, or ourselves by an address that we know not for ours."""
        self._dialled_from = remote.host
        self._judge(now)

    def _judge(self, now: float) -> None:
        if any(isinstance(context, Bootstrapping) for context in self._connections.dialled_for()):
            self._timers.set("judge", now + JUDGE_S, "was it ourselves who dialled us")
        elif now >= self._reached_at + ECHO_S:
            self._met(self._dialled_from, now)

    def handle_reached(self, now: float) -> None:
        """Whom we have dialled to find the overlay has our certificate: most likely it is ourselves, from outside."""
        self._reached_at = now

    def _ways(self) -> list[NodeId]:
        """Who is not let in, as the other is a member, has no neighbours: whom it is linked with will do."""
        neighbors = [node for node in self._topology.neighbors if node in self._connections]
        return neighbors or sorted(self._connections)

    def _ask(self, way: NodeId, now: float) -> None:
        # Whom we have just lost, and nobody is nearer to than we are, is reached over its neighbours.
        over = self._ways()[:1] if self._topology.next_hop(way) is None else []
        route = [Destination.node(node) for node in (*over, way, self._node_id)]
        offer = attach_body(self._whereabouts.offering(Purpose.RELOAD), send_update=True)
        asked = OverlayRequest(route, MessageCode.ATTACH_REQ, offer, transmissions_max=1)
        self._exchange.request(asked, TwinContext(), now)

    def _is_present(self, now: float) -> bool:
        return self._met_at is not None and now < self._met_at + PRESENT_S

    def _met(self, remote: str, now: float) -> None:
        self._remote, self._met_at = remote, now
        if self._warned_at is None or now >= self._warned_at + WARN_EVERY_S:
            self._warned_at = now
            means = "a state directory was copied: stop one of the two, and give it a Node-ID of its own with peer init"
            self._exchange.warn("another machine has our Node-ID", remote=remote, means=means)
        self._timers.set("look", now + LOOK_AGAIN_S, "look for our own Node-ID again")
