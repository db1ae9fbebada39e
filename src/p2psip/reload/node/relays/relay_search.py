"""Finds relays, and has one lend us an address, for a node that others cannot reach (RFC 6940 section 9).

Theory of operation. A node that is seen by others at an address that is not its own is behind a NAT, and needs relays:
it knows at least three, if the overlay has so many. Whom it is linked with it asks whether they relay; others it finds
as section 9 says, by a Find at a place of chance. Who relays gives a credential, which is renewed in time. How far away
a relay is, and whether it is there, a ping says now and then; one that does not answer is replaced before it is needed.
The nearest lends us its addresses; one that turns out to be much nearer does so later. If it is gone the next one does
at once.

      Find, Fetch --.
                    +--> asked --credential--> known --nearest--> lends
      linked with --'      |                    |  ^                |
                           v                    v  '----- gone -----'
                    left alone for a while <-- silent
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import RELAY_ASKS_MAX, RELAYS_ASKED_MAX, RELAYS_KNOWN_MAX
from p2psip.reload.node.relays.relay_terms import RelayContext
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.relays.relay_pings import RelayPinged
from p2psip.reload.paths.relays.relay_values import RelayGone, RelayTaken
from p2psip.reload.security.sealed_answer import CannotUnseal, SealedQuestion
from p2psip.reload.storage.verified import read_answer, read_find
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.turn_service import fetch_request, find_request, relays_in
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import TURN_SERVICE
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.storage_messages import FetchAns, FindAns
from p2psip.reload.wire.usages.relay_access import RELAY_ACCESS, RelayAccessAns, RelayAccessReq
from p2psip.stun.attributes import Family
from p2psip.stun.credentials import StunCredential
from p2psip.turn.client_values import Loss
from p2psip.turn.peers import Scope, scope_of

WANTED: Final = 3
SEEK_FIRST_S: Final = 2.0
SEEK_MAX_S: Final = 300.0
"""How long after one round of seeking the next begins; it grows as long as there are too few, and no new ones."""

SEEK_NONE_MAX_S: Final = 30.0
"""The same where none is known."""

ASK_AGAIN_S: Final = 600.0
"""How long who does not relay is left alone."""

SILENT_S: Final = 30.0
"""How long a node is left alone that does not answer, and a relay that does not."""

PING_S: Final = 60.0
PING_OVER_STREAM_S: Final = 900.0
"""The same where each ping costs handshakes of TCP and TLS: some five kilobytes."""

COMPARE_S: Final = 0.3
"""How long after the first relay is known others may turn out to be nearer before it lends us an address."""

COMPARE_OVER_STREAM_S: Final = 1.0
"""The same where that takes handshakes."""

PART_S: Final = 10.0
"""How long what was lent over streams stays when datagrams pass again."""

BACK_AGAIN_S: Final = 5.0
"""How long after a relay was lost it may be there again."""

NEARER_S: Final = 0.005
"""Another relay takes over that is so much nearer than half as far away."""

REFUSED_S: Final = 300.0
"""How long a relay is left alone that does not do what is asked."""

RENEW_MIN_S: Final = 60.0
RENEW_MAX_S: Final = 12 * 3600.0

ACCESS_TRANSMISSIONS: Final = 3


@dataclass(frozen=True, slots=True)
class RelayAccessContext(RelayContext):
    """A question to a node: may we use its relay?"""

    node: NodeId
    question: SealedQuestion = field(compare=False)


@dataclass(frozen=True, slots=True)
class RelayFindContext(RelayContext):
    """A Find, or a Fetch of what it has found."""

    resource: ResourceId


@dataclass(slots=True)
class _Known:
    """A relay of which we have a credential."""

    node: NodeId
    addresses: tuple[Address, ...]
    credential: StunCredential
    rtt_s: float | None = None
    not_before: float = 0.0
    """It refused to lend anything until then."""
    is_doubted: bool = False
    """It has fallen silent, or the way to it has: it lends again when it answers a ping."""

    def may_be_asked(self, now: float) -> bool:
        """True if there is no reason to think that it lends nothing."""
        return now >= self.not_before and not self.is_doubted

    def address_for(self, base: Address) -> Address | None:
        """Where it is asked from a port of ours."""
        family = Family.of(base.host)
        return next((address for address in self.addresses if Family.of(address.host) is family), None)


class RelaySearch:
    """The relays that one node knows, and what they lend it."""

    def __init__(
        self,
        exchange: Exchange,
        data: Data,
        topology: Topology,
        connections: ConnectionTable,
        punching: Punching,
        rng: random.Random,
    ) -> None:
        self._exchange = exchange
        self._data = data
        self._topology = topology
        self._connections = connections
        self._punching = punching
        self._rng = rng
        self._bases: dict[Address, int] = {}
        """The ports of ours for which addresses are wanted, and of how many relays; none as long as no relay is needed.
        """
        self._over_streams = False
        """True where datagrams do not pass: relays are asked over TLS then, and pinged less often."""
        self._parting: set[tuple[Address, Address]] = set()
        """What ports of ours have of which relays over streams, though datagrams pass again."""
        self._known: dict[NodeId, _Known] = {}
        self._asking: set[NodeId] = set()
        self._returning: set[NodeId] = set()
        """Those of them that lent us something until a moment ago, and know us no more."""
        self._left_alone: dict[NodeId, float] = {}
        """Until when nodes are not asked (again); the oldest first."""
        self._lending: dict[Address, tuple[Address, ...]] = {}
        """By port of ours: which relays lend it something, or were asked to; the first are those that it can spare."""
        self._linked: set[NodeId] = set()
        self._seek_s = SEEK_FIRST_S
        self._timers: Timers[tuple[str, NodeId | None]] = exchange.queue.scope()

    @property
    def known(self) -> tuple[tuple[NodeId, float | None], ...]:
        """The relays that we could use, and how far away each is, if that was measured; the nearest first."""
        return tuple((each.node, each.rtt_s) for each in self._by_distance())

    @property
    def lending(self) -> tuple[Address, ...]:
        """The relays that lend us something now, once for each port."""
        ways = ((base, relay) for base, relays in self._lending.items() for relay in relays)
        return tuple(relay for base, relay in ways if self._punching.lends(base, relay))

    # What is needed

    def need(self, bases: dict[Address, int], now: float, *, over_streams: bool = False) -> None:
        """So many relays are needed for each of these ports of ours; for none, where others reach us."""
        if (bases, over_streams) == (self._bases, self._over_streams):
            return
        if over_streams is self._over_streams:
            gone = set(self._bases) - set(bases)
        else:
            gone = set(self._bases)
            for known in self._known.values():
                known.is_doubted = False
        for base in gone:
            for relay in self._lending.pop(base, ()):
                if self._over_streams and bases:
                    # Calls that go over it go on until they have another path, which is to be one over datagrams.
                    self._parting.add((base, relay))
                    self._punching.relayed.tell_nobody(base, relay, over_stream=True)
                    self._timers.set(("part", None), now + PART_S, "streams are given back")
                else:
                    self._punching.release(base, relay, now, over_stream=self._over_streams)
        self._bases, self._over_streams = bases, over_streams
        if not bases:
            self._part(now)
            self._timers.clear()
            self._known.clear()
            return
        self._seek_s = SEEK_FIRST_S
        self._timers.set(("seek", None), now, "relays are needed")
        for node in self._known:
            if ("ping", node) not in self._timers:
                self._ping(node, now)
        self._choose(now)

    def linked(self, now: float) -> None:
        """There are other links than before: who is at the other end may relay, and may have begun anew."""
        linked = set(self._connections)
        for node in linked - self._linked:
            self._left_alone.pop(node, None)
        self._linked = linked
        if self._bases and len(self._known) < WANTED:
            self._ask_linked(now)

    # Seeking

    def _seek(self, now: float) -> None:
        """One round: ask whom we are linked with, and somebody anywhere for others."""
        if len(self._known) >= WANTED:
            return
        self._ask_linked(now)
        if self._topology.is_connected and TURN_SERVICE in self._data.storage.rules.kinds:
            place = self._data.storage.rules.hash_name(self._rng.randbytes(16))
            asked = OverlayRequest([Destination.resource(place)], MessageCode.FIND_REQ, find_request(place))
            self._exchange.request(asked, RelayFindContext(place), now)
        self._timers.set(("seek", None), now + self._seek_s, "more relays are wanted")
        self._seek_s = min(SEEK_MAX_S if self._known else SEEK_NONE_MAX_S, 2 * self._seek_s)

    def _ask_linked(self, now: float) -> None:
        for node in list(self._connections):
            self._ask(node, now)

    def _ask(self, node: NodeId, now: float, *, is_renewal: bool = False) -> None:
        is_wanted = is_renewal or (node not in self._known and now >= self._left_alone.get(node, now))
        if not is_wanted or node in self._asking or len(self._asking) >= RELAY_ASKS_MAX:
            return
        if node == self._exchange.identity.node_id:
            return
        question = SealedQuestion(self._rng)
        body = PrivateReq(RELAY_ACCESS, RelayAccessReq(question.key).encode())
        asked = OverlayRequest(
            [Destination.node(node)], MessageCode.PRIVATE_REQ, body, transmissions_max=ACCESS_TRANSMISSIONS
        )
        if self._exchange.request(asked, RelayAccessContext(node, question), now) is not None:
            self._asking.add(node)

    def handle_outcome(self, context: RelayAccessContext | RelayFindContext, outcome: Outcome, now: float) -> None:
        """What a node says to one of our questions, if anything."""
        if isinstance(context, RelayFindContext):
            self._found(context, outcome, now)
            return
        self._asking.discard(context.node)
        if not isinstance(outcome, Answer):
            self._returning.discard(context.node)
        if not isinstance(outcome, Answer) or not isinstance(outcome.body, PrivateAns):
            self._refused(context.node, outcome, now)
            return
        try:
            answer = RelayAccessAns.decode(outcome.body.body)
            password = context.question.unseal(answer.key, answer.sealed, RELAY_ACCESS).decode()
            credential = StunCredential(answer.username.decode(), password)
        except (DecodeError, CannotUnseal, UnicodeDecodeError) as error:
            self._exchange.note("relay not understood", node=context.node, reason=str(error))
            self._leave_alone(context.node, now + ASK_AGAIN_S)
            return
        self._granted(context.node, answer, credential, now)

    def _refused(self, node: NodeId, outcome: Outcome, now: float) -> None:
        if node in self._known and not isinstance(outcome, Refused):
            # Its answer may have been lost, and what we have of it may be good for a while: it is asked again.
            return
        if node in self._known:
            self._forget(node, now)
        self._leave_alone(node, now + (ASK_AGAIN_S if isinstance(outcome, Refused) else SILENT_S))

    def _found(self, context: RelayFindContext, outcome: Outcome, now: float) -> None:
        body = outcome.body if isinstance(outcome, Answer) else None
        if isinstance(body, FindAns):
            place = read_find(find_request(context.resource), body).get(TURN_SERVICE)
            if place is not None:
                asked = OverlayRequest([Destination.resource(place)], MessageCode.FETCH_REQ, fetch_request(place))
                self._exchange.request(asked, RelayFindContext(place), now)
        elif isinstance(outcome, Answer) and isinstance(body, FetchAns):
            verified = read_answer(context.resource, body, outcome.certificates, self._data.reader, now)
            for node in relays_in(verified):
                self._ask(node, now)

    def _granted(self, node: NodeId, answer: RelayAccessAns, credential: StunCredential, now: float) -> None:
        places = [each.host_port for each in answer.servers]
        addresses = tuple(
            Address(*place) for place in places if place is not None and scope_of(place[0]) is not Scope.NONE
        )
        if not addresses or (node not in self._known and len(self._known) >= RELAYS_KNOWN_MAX):
            self._leave_alone(node, now + ASK_AGAIN_S)
            return
        self._left_alone.pop(node, None)
        before = self._known.get(node)
        if before is None:
            self._exchange.note("relay found", node=node, at=", ".join(map(str, addresses)))
            self._known[node] = _Known(node, addresses, credential)
            self._seek_s = SEEK_FIRST_S
            self._ping(node, now)
            if node in self._returning:
                self._timers.set(("choose", None), now, "a relay knows us again")
            elif ("choose", None) not in self._timers:
                compare_s = COMPARE_OVER_STREAM_S if self._over_streams else COMPARE_S
                self._timers.set(("choose", None), now + compare_s, "which relay is the nearest")
            self._returning.discard(node)
        else:
            before.addresses, before.credential = addresses, credential
            for base, relays in self._lending.items():
                for relay in [each for each in relays if each in addresses]:
                    self._allocate(base, relay, credential, now)
        # A relay says for how long; whoever says a moment is not asked without end, and who says for ever is asked.
        renew_s = min(max(answer.lifetime / 2, RENEW_MIN_S), RENEW_MAX_S)
        self._timers.set(("renew", node), now + renew_s, "a relay's credential is renewed")

    def _leave_alone(self, node: NodeId, until: float) -> None:
        self._left_alone.pop(node, None)
        while len(self._left_alone) >= RELAYS_ASKED_MAX:
            del self._left_alone[next(iter(self._left_alone))]
        self._left_alone[node] = until

    # Which one

    def _by_distance(self) -> list[_Known]:
        return sorted(self._known.values(), key=lambda each: (each.rtt_s is None, each.rtt_s or 0.0))

    def _choose(self, now: float) -> None:
        """Have the nearest relays lend something to each port that has too little."""
        for base, wanted in self._bases.items():
            for known in self._by_distance():
                relays, relay = self._lending.get(base, ()), known.address_for(base)
                if len(relays) < wanted and relay is not None and relay not in relays and known.may_be_asked(now):
                    self._lending[base] = (*relays, relay)
                    self._allocate(base, relay, known.credential, now)
        later = [known.not_before for known in self._known.values() if known.not_before > now]
        if later and any(len(self._lending.get(base, ())) < wanted for base, wanted in self._bases.items()):
            self._timers.set(("choose again", None), min(later), "a relay may be asked again")

    def _part(self, now: float) -> None:
        """Give back what was lent over streams while datagrams did not pass."""
        for base, relay in sorted(self._parting):
            self._punching.release(base, relay, now, over_stream=True)
        self._parting.clear()

    def _allocate(self, base: Address, relay: Address, credential: StunCredential, now: float) -> None:
        if self._over_streams:
            self._parting.discard((base, relay))
        self._punching.allocate(base, relay, credential, now, over_stream=self._over_streams)

    def _improve(self, now: float) -> None:
        """Have a relay that is much nearer lend something instead, and give back what no path needs any more."""
        for base, relays in self._lending.items():
            wanted = self._bases[base]
            for before in relays[:-wanted]:
                if not self._punching.uses_relay(base, before):
                    self._punching.release(base, before, now, over_stream=self._over_streams)
            if len(relays) != wanted:
                continue
            by_distance = self._by_distance()
            lending = [each for each in by_distance if each.address_for(base) in relays]
            others = [each for each in by_distance if each not in lending and each.may_be_asked(now)]
            if lending and others and _is_much_nearer(others[0], lending[-1]):
                farthest, relay = lending[-1].address_for(base), others[0].address_for(base)
                assert farthest is not None, "it lends"
                if relay is not None:
                    kept = (each for each in relays if each != farthest)
                    self._lending[base] = (farthest, *kept, relay)
                    self._allocate(base, relay, others[0].credential, now)

    def handle_news(self, news: RelayTaken | RelayGone, now: float) -> None:
        """What has become of an allocation."""
        if isinstance(news, RelayTaken):
            self._exchange.note("relay lends", at=str(news.relay), relayed=", ".join(map(str, news.relayed)))
            return
        if news.over_stream is not self._over_streams or news.base not in self._lending:
            # It was given back when datagrams ceased to pass, or began to; or that port of ours is gone.
            return
        self._lending[news.base] = tuple(relay for relay in self._lending[news.base] if relay != news.relay)
        if news.loss is Loss.ENDED:
            # We have given it back, and may want it again meanwhile.
            self._choose(now)
            return
        self._exchange.warn("relay gone", at=str(news.relay), reason=news.reason)
        for known in [each for each in self._known.values() if news.relay in each.addresses]:
            if news.loss in (Loss.RESTARTED, Loss.CREDENTIAL):
                # Its credentials have ended with it. As soon as we have another it is as good as any.
                self._forget(known.node, now)
                self._returning.add(known.node)
                self._ask(known.node, now)
            elif news.loss in (Loss.FULL, Loss.REFUSED):
                known.not_before = now + max(news.retry_after_s, REFUSED_S if news.loss is Loss.REFUSED else 0.0)
            elif news.loss in (Loss.SILENT, Loss.UNREACHABLE) and not news.over_stream:
                # Where a router was away for a second all relays are silent at once, and none of them is gone.
                known.is_doubted = True
                self._ping(known.node, now)
            else:
                self._forget(known.node, now)
                self._leave_alone(known.node, now + BACK_AGAIN_S)
        self._choose(now)

    def _forget(self, node: NodeId, now: float) -> None:
        """A relay is none of those that we know any more: another one is to be found."""
        del self._known[node]
        self._timers.cancel(("ping", node))
        self._timers.cancel(("renew", node))
        if self._bases and len(self._known) < WANTED:
            self._seek_s = SEEK_FIRST_S
            self._timers.set(("seek", None), now + SEEK_FIRST_S, "a relay is gone")

    # Time

    def _ping(self, node: NodeId, now: float) -> None:
        if self._over_streams and not self._bases:
            return
        base = next(iter(self._bases)) if self._over_streams else None
        self._punching.relay_pings.ping(self._known[node].addresses[0], now, base)
        apart_s = PING_S if base is None else PING_OVER_STREAM_S
        self._timers.set(("ping", node), now + apart_s * self._rng.uniform(0.8, 1.2), "is a relay there")

    def handle_ping(self, pinged: RelayPinged, now: float) -> None:
        """How far away a relay is; or it does not answer, and is left alone for a while."""
        for known in [each for each in self._known.values() if each.addresses[0] == pinged.relay]:
            if pinged.over_stream is not self._over_streams:
                # It was asked before datagrams ceased to pass, or began to.
                if known.rtt_s is None:
                    self._ping(known.node, now)
            elif pinged.rtt_s is not None:
                known.rtt_s = pinged.rtt_s
                if known.is_doubted:
                    known.is_doubted = False
                    self._choose(now)
                self._improve(now)
            elif known.is_doubted or not any(pinged.relay in relays for relays in self._lending.values()):
                # Of one that lends us something, or is asked to, its client finds out by itself.
                self._exchange.note("relay does not answer", node=known.node, at=str(pinged.relay))
                self._forget(known.node, now)
                self._leave_alone(known.node, now + SILENT_S)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Seek, renew, ping, choose."""
        for what, node in self._timers.pop_due(now):
            if what == "seek":
                self._seek(now)
            elif what in ("choose", "choose again"):
                self._choose(now)
            elif what == "part":
                self._part(now)
            elif node is not None and what == "renew":
                self._timers.set(("renew", node), now + RENEW_MIN_S, "a relay's credential is asked for again")
                self._ask(node, now, is_renewal=True)
            elif node is not None:
                self._ping(node, now)


def _is_much_nearer(relay: _Known, other: _Known) -> bool:
    if relay.rtt_s is None or other.rtt_s is None:
        return False
    return relay.rtt_s + NEARER_S < other.rtt_s / 2
