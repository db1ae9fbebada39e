"""Relays as a node has to do with them: it offers one, or needs some, or neither."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.facts import RelayFacts
from p2psip.reload.node.parts import ConnectingRoom, Ground
from p2psip.reload.node.relays.relay_offering import RelayOffering, RelayRecordContext, best_hosts
from p2psip.reload.node.relays.relay_search import RelayAccessContext, RelayFindContext, RelaySearch
from p2psip.reload.node.relays.relay_terms import RelayContext, RelayTerms
from p2psip.reload.node.serving import PrivateHandler
from p2psip.reload.paths.nat.reach import Reach
from p2psip.reload.paths.relays.relay_values import RelayGone, RelayTaken
from p2psip.reload.paths.simultaneous.outside_port import MEMBERS_AFTER_S, MEMBERS_SOON_S
from p2psip.reload.paths.values import Purpose
from p2psip.reload.transport.outcome import Outcome
from p2psip.reload.wire.usages.relay_access import RELAY_ACCESS
from p2psip.turn.client_values import Loss

OUTSIDE_S = 2.0
"""So long after a relay has lent something over a stream it has said as whom it sees a port for streams. Until then an
Attach would have a link go over the relay that may go directly.
"""

RELAYS_OF_CALLS = 2
"""So many relays lend something to a port of calls: when the one dies that a call goes over, the other is there."""


class Relaying:
    """That, of one node."""

    def __init__(
        self, ground: Ground, connecting: ConnectingRoom, data: Data, terms: RelayTerms, rng: random.Random
    ) -> None:
        self._paths, self._punching = ground.paths, ground.paths.punching
        self._whereabouts = ground.paths.whereabouts
        self._topology = ground.topology
        self._datagrams, self._applications = connecting.datagrams, connecting.applications
        self._intents = connecting.intents
        self._connections = ground.connections
        self._links = 0
        self._reach = Reach(0.0)
        self._surveying = connecting.surveying
        self._hosts: tuple[str, ...] = ()
        """Those of ours that need a relay, as they are behind a NAT or a firewall."""
        self._addresses: dict[Purpose, tuple[Address, ...]] = {}
        self._timers: Timers[str] = ground.exchange.queue.scope()
        self._is_over_streams = False
        self._without: frozenset[Purpose] = frozenset()
        """Those to whose port no relay has lent anything since relays are asked over streams, or over datagrams again.
        """
        self.offering = RelayOffering(ground.exchange, data, ground.topology, ground.paths, terms, rng)
        self.search = RelaySearch(ground.exchange, data, ground.topology, ground.connections, self._punching, rng)

    @property
    def facts(self) -> RelayFacts:
        """What an operator wants to know of it."""
        relay = self._paths.own_relay
        return RelayFacts(relay.is_offered, len(relay), self.search.known, self.search.lending)

    @property
    def private(self) -> dict[bytes, PrivateHandler]:
        """Who answers private messages that have to do with relays."""
        return {RELAY_ACCESS: self.offering.handle_access}

    def settle(self, reach: Reach, now: float) -> None:
        """Look at what has changed in the node: our addresses, whether others reach us, as whom they see us, what
        relays say, where links are made by ICE.
        """
        if reach is not self._reach:
            self._reach = reach
            self._punching.is_udp_blocked = reach.is_udp_blocked
            self._datagrams.reach_changed(now)
            self.offering.use_reach(is_open=reach.is_open, now=now)
            self._look(now)
        if self._whereabouts.addresses != self._addresses:
            self._addresses = dict(self._whereabouts.addresses)
            self.offering.consider(now)
            self._look(now)
        if self._punching.is_seen_anew:
            self._look(now)
        if len(self._connections) != self._links:
            self._links = len(self._connections)
            self.search.linked(now)
            self._name_members(now)
        if self._topology.is_connected:
            self.offering.joined(now)
        for news in self._punching.relay_news():
            self._handle_news(news, now)
            self._paths.use_relay(news, now)
        for pinged in self._punching.relay_pings.results():
            self.search.handle_ping(pinged, now)
        if "anew" in self._timers and self._punching.outside.mapped():
            self._timers.cancel("anew")
            self._intents.ask_anew(now)

    def _handle_news(self, news: RelayTaken | RelayGone, now: float) -> None:
        self.search.handle_news(news, now)
        if isinstance(news, RelayGone):
            if news.loss is Loss.SILENT and not news.over_stream:
                self._datagrams.doubted(now)
            return
        lent = {each for each in self._without if self._whereabouts.are_at(each, news.base)}
        self._without -= lent
        # What is under way says of us what leads nowhere.
        if Purpose.RELOAD in lent and news.over_stream:
            self._timers.set("anew", now + OUTSIDE_S, "Attaches are sent anew")
        if Purpose.CALLS in lent and news.over_stream:
            self._applications.ask_anew(now)
        if lent and not news.over_stream:
            self._punching.replace_stream_paths(news.base.port)

    def _ports_of_calls(self) -> set[int]:
        return {address.port for address in self._whereabouts.addresses.get(Purpose.CALLS, ())}

    def _look(self, now: float) -> None:
        """Are we behind a NAT? 9: if ICE "returns a reflexive address that is not the same as the peer's perceived
        address, then the peer is behind a NAT".
        """
        self._punching.is_seen_anew = False
        addresses = self._whereabouts.addresses[Purpose.RELOAD]
        own = {address.host for address in addresses}
        seen = self._punching.seen_as()
        over_streams = self._reach.is_udp_blocked
        if over_streams is not self._is_over_streams:
            self._is_over_streams, self._without = over_streams, frozenset((Purpose.RELOAD, Purpose.CALLS))
        if self.offering.is_offered:
            behind = []
        elif over_streams:
            # Nobody outside can say as whom we are seen.
            best = best_hosts(address.host for address in addresses)
            behind = [address for address in addresses if address.host in best]
        elif seen:
            behind = [each.base for each in seen if each.address.host not in own]
        else:
            # Nobody says anything at the moment: it is as it was.
            return
        ports = {
            address.port
            for purpose, addresses in self._whereabouts.addresses.items()
            for address in addresses
            if self._whereabouts.is_punched(purpose)
        }
        calls = self._ports_of_calls()
        hosts = {":" in base.host: base.host for base in behind}
        bases = (Address(host, port) for host in hosts.values() for port in sorted(ports))
        wanted = {base: RELAYS_OF_CALLS if base.port in calls else 1 for base in bases}
        self.search.need(wanted, now, over_streams=over_streams)
        if (behind_at := tuple(hosts.values())) != self._hosts:
            self._hosts = behind_at
            self._name_members(now)

    def _name_members(self, now: float) -> None:
        """Where no relay lends anything, members that we have dialled over streams can say as whom they see ours."""
        if self._whereabouts.opens_streams(Purpose.RELOAD):
            members = [address for _, address in self._surveying.open_ports()] if self._hosts else []
            after_s = MEMBERS_SOON_S if self._is_over_streams else MEMBERS_AFTER_S
            self._punching.outside.use_members(self._hosts, members, now, after_s)
            if self._is_over_streams and members and not self._punching.outside.mapped():
                # What is under way says of us only what leads nowhere.
                self._timers.set("anew", now + after_s + OUTSIDE_S, "Attaches are sent anew")

    def handle_outcome(self, context: RelayContext, outcome: Outcome, now: float) -> None:
        """A request of ours is over."""
        if isinstance(context, RelayRecordContext):
            self.offering.handle_outcome(context, outcome, now)
        elif isinstance(context, RelayAccessContext | RelayFindContext):
            self.search.handle_outcome(context, outcome, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest(part.next_deadline() for part in (self.offering, self.search, self._timers))

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.offering.handle_timeout(now)
        self.search.handle_timeout(now)
        for _ in self._timers.pop_due(now):
            self._intents.ask_anew(now)
