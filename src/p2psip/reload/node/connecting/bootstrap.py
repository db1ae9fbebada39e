"""Finding the overlay, or another part of it (RFC 6940 section 11.4, 10.7.4.4)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.reload.link.link import LinkLost
from p2psip.reload.node.connecting.attempts import FailedAttempts
from p2psip.reload.node.connecting.coming_in.lost_neighbors import LostNeighbors
from p2psip.reload.node.connecting.coming_in.mdns_search import MdnsSearch
from p2psip.reload.node.connecting.coming_in.ways_in import WayIn, WaysTried
from p2psip.reload.node.connecting.connection_table import Connection, ConnectionTable
from p2psip.reload.node.connecting.contacts import Contacts
from p2psip.reload.node.connecting.intents import Intents
from p2psip.reload.node.connecting.lan_search import LanSearch
from p2psip.reload.node.effects import ConfigurationOutdated, ContactsChanged
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import CONTACTS_KEPT, HEARD_MAX, NAMED_MAX, WAYS_IN
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.dialling import SLOWER
from p2psip.reload.paths.values import (
    Candidate,
    FindByName,
    FoundByMdns,
    FoundByName,
    LanArrived,
    Purpose,
    Refusal,
    Session,
)
from p2psip.reload.topology.plugin import Topology

DNS_AFTER_S = 2.0
"""How long the overlay is sought in vain before DNS is asked for it."""

DNS_PAUSE_S = 30.0
"""Between two such questions."""

HEARD_S = 60.0
"""How long a peer that was found by multicast is dialled there."""

HEARING_S = 1.5
"""How long answers to it are waited for before we begin an overlay."""

ASK_AFTER_S = 30.0
"""How long, on average, after the ring has changed a peer is asked where it can be dialled: others are busy joining."""


OUTSIDERS_S = 3.0
"""How long others that are outside are asked before we begin an overlay: they look for one that there may be."""

JOIN_ATTEMPT_S = 60.0
"""About as long as an attempt to come in takes: what failed before has nothing to do with it."""


@dataclass(frozen=True, slots=True)
class Bootstrapping:
    """A connection that we dial to find the overlay, or another part of it; or a client, to a `peer` that it wants."""

    is_probe: bool = False
    peer: NodeId | None = None
    refusals: tuple[Refusal, ...] = ()
    """When it is over: why it is no connection by the other candidates, or by any."""


class Bootstrap:
    """Where to knock: what is remembered, what is configured, and what was lost."""

    def __init__(
        self,
        exchange: Exchange,
        connections: ConnectionTable,
        whereabouts: Whereabouts,
        contacts: Contacts,
        intents: Intents,
        topology: Topology,
        attempts: FailedAttempts,
        rng: random.Random,
        *,
        may_start_alone: bool,
        is_client: bool,
        remembered: Sequence[Address],
        asks_dns: bool,
        lan: LanSearch,
        mdns: MdnsSearch,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._whereabouts = whereabouts
        self._contacts = contacts
        self._intents = intents
        self._topology = topology
        self._attempts = attempts
        self._rng = rng
        self._may_start_alone = may_start_alone
        self._is_client = is_client
        self._remembered = dict.fromkeys(remembered)
        self.trouble = ""
        """Why it is in no overlay, or alone, as far as it knows; empty while another node speaks with it."""
        self._lost = LostNeighbors(rng, exchange.queue)
        self._asked: set[NodeId] = set()
        """Peers that were asked where they can be dialled, as long as we are linked with them."""
        self._timers: Timers[str] = exchange.queue.scope()
        self.ways = WaysTried()
        """What came of each way in."""
        self._passed_over: set[Address] = set()
        """Where somebody was slower to answer than one who turned out to be nobody that we could believe."""
        self._asks_dns = asks_dns
        self._named: tuple[Address, ...] = ()
        """Where DNS has said that the overlay is."""
        self._dns_asked_at: float | None = None
        self._lan, self._mdns = lan, mdns
        self._heard: dict[Address, float] = {}
        """Where peers were found by multicast, and when."""
        self._sought_since: float | None = None
        self._is_dialling = False
        self._is_shut_out = False

    def seek(self, now: float, *, is_probe: bool) -> None:
        """11.4: a peer that we are linked with, or a node that we dial: remembered or configured, chosen at random.

        Last comes a node that we are linked with and that was no peer when we heard of it: it may be one by now.
        """
        if self._sought_since is None or self._topology.routes:
            self._sought_since = now
        self._look_around(now)
        self._ask_dns(now)
        if self._is_dialling:
            return
        peers = [] if is_probe else [node for node in sorted(self._connections) if node in self._topology.routes]
        if (not peers and self._dial(self._ways_in(), now, is_probe=is_probe)) or is_probe:
            return
        if peers:
            self._topology.handle_gateway(self._rng.choice(peers), now)
        else:
            self._nobody("no bootstrap node is known but ourselves", now)

    def _nobody(self, reason: str, now: float) -> None:
        """Nobody can be dialled; but somebody may have dialled us."""
        others = sorted(self._connections)
        if others:
            self._topology.handle_gateway(self._rng.choice(others), now)
        else:
            self._failed(reason, now)

    def _configured(self) -> list[Address]:
        return [Address(node.address, node.port) for node in self._exchange.configuration.bootstrap_nodes]

    @property
    def _may_begin(self) -> bool:
        """True also where others look for the overlay: at an address that may have come after the start. A client is
        no peer, wherever it is.
        """
        if self._is_client:
            return False
        own = self._whereabouts.known(Purpose.RELOAD)
        return self._may_start_alone or not set(self._configured()).isdisjoint(own)

    def _ways_in(self) -> dict[Address, WayIn]:
        """Where to dial for the overlay, or another part of it, and how we know of it.

        Neighbours that were lost may live on in another part, wherever the bootstrap nodes are.
        """
        sources = {
            WayIn.REMEMBERED: self._remembered,
            WayIn.CONFIGURED: self._configured(),
            WayIn.LOST: self._lost.addresses,
            WayIn.MULTICAST: self._heard,
            WayIn.MDNS: self._mdns.addresses,
            WayIn.DNS: self._named,
        }
        ways: dict[Address, WayIn] = {}
        for way, known in sources.items():
            for address in self._some_of(known):
                ways.setdefault(address, way)
        # A stranger that is near may be at an address of before, and first to answer for ever.
        passed_over, self._passed_over = self._passed_over & set(ways), set()
        return {address: way for address, way in ways.items() if not passed_over or address in passed_over}

    def _some_of(self, addresses: Iterable[Address]) -> list[Address]:
        """By chance, of those that we are not linked with."""
        untried = self._untried(addresses)
        return self._rng.sample(untried, min(WAYS_IN, len(untried)))

    def _untried(self, addresses: Iterable[Address]) -> list[Address]:
        """Those that we are not linked with.

        Over a link that has failed nothing is sent: were it left out, too, nobody would notice that there is a path
        again before it is given up.
        """
        tried = {
            *self._whereabouts.known(Purpose.RELOAD),
            *(self._contacts.get(node) for node in self._connections),
            *(link.remote for link in self._connections.all() if link.node in self._connections),
        }
        return [address for address in addresses if address not in tried]

    def _dial(self, ways: Mapping[Address, WayIn], now: float, *, is_probe: bool) -> bool:
        link = self._connections.dial(self._session(ways), Bootstrapping(is_probe), now)
        self._is_dialling = link is not None
        if self._is_dialling:
            self.ways.begun(ways, now)
        return self._is_dialling

    def _session(self, addresses: Iterable[Address]) -> Session:
        """A bootstrap node's port is one number for TLS and DTLS, and nothing says which of them runs there: both."""
        link_types = self._whereabouts.dialled_types(Purpose.RELOAD)
        candidates = tuple(Candidate(address, link_type) for address in addresses for link_type in link_types)
        return Session(Purpose.RELOAD, candidates)

    # Peers on the same link

    @property
    def is_on_lan(self) -> bool:
        """True if peers there are asked for, and we answer."""
        return self._lan.is_on

    def _look_around(self, now: float) -> None:
        self._heard = {address: at for address, at in self._heard.items() if now < at + HEARD_S}
        if self._lan.ask(now) and not self._heard:
            self.ways.nobody(WayIn.MULTICAST, "nobody has answered", now)
        self._mdns.look()
        if self._mdns.is_on and not self._mdns.addresses:
            self.ways.nobody(WayIn.MDNS, "nobody is there", now)

    def handle_mdns(self, found: FoundByMdns, now: float) -> None:
        """Who is on the network, as anybody may say: who is new is dialled at once, as one that has answered."""
        news = self._untried(self._mdns.take(found, {*self._connections, *self._topology.routes}))[:WAYS_IN]
        if found.problem:
            self.ways.nobody(WayIn.MDNS, found.problem, now)
        elif news:
            self.ways.answered(WayIn.MDNS)
            self._dial_beside(news, WayIn.MDNS, now)

    def handle_lan(self, event: LanArrived, now: float) -> None:
        """Something was heard on a link of this machine: a peer that is found there is dialled at once, beside whatever
        is dialled already.
        """
        if (found := self._lan.handle(event, now)) is None:
            return
        node, address = found
        self.ways.answered(WayIn.MULTICAST)
        if node in self._connections or address in self._heard or len(self._heard) >= HEARD_MAX:
            return
        self._heard[address] = now
        self._dial_beside([address], WayIn.MULTICAST, now)

    def _dial_beside(self, addresses: Sequence[Address], way: WayIn, now: float) -> None:
        """At once, whatever is being dialled: nobody there may answer, or only long after these."""
        context = Bootstrapping(is_probe=bool(self._topology.routes))
        if self._connections.dial(self._session(addresses), context, now) is not None:
            self.ways.begun(dict.fromkeys(addresses, way), now)

    def withdraw(self) -> None:
        """We leave: nobody is to find us."""
        self._mdns.look()

    # The name of the overlay in DNS

    def _ask_dns(self, now: float) -> None:
        """When it has not been found otherwise: what is near answers sooner, and what is asked is known to others."""
        if self._topology.routes:
            return
        is_early = self._sought_since is None or now < self._sought_since + DNS_AFTER_S
        is_soon = self._dns_asked_at is not None and now < self._dns_asked_at + DNS_PAUSE_S
        if self._asks_dns and not is_early and not is_soon:
            self._dns_asked_at = now
            self._exchange.emit(FindByName(self._exchange.configuration.instance_name))

    def handle_named(self, found: FoundByName, now: float) -> None:
        """DNS has answered, or not."""
        before, self._named = self._named, found.addresses[:NAMED_MAX]
        if found.problem:
            self.ways.nobody(WayIn.DNS, found.problem, now)
            return
        self.ways.answered(WayIn.DNS)
        # RFC 2782: "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach".
        news = [address for address in self._untried(self._named) if address not in before][:WAYS_IN]
        if news and not self._topology.routes:
            self._dial_beside(news, WayIn.DNS, now)

    def find_way(self, now: float) -> None:
        """Nobody that we are linked with answers: dial who else is remembered or configured."""
        if not self._is_dialling:
            known = dict.fromkeys(self._configured(), WayIn.CONFIGURED) | dict.fromkeys(
                self._remembered, WayIn.REMEMBERED
            )
            ours = {*self._whereabouts.known(Purpose.RELOAD), *(link.remote for link in self._connections.all())}
            others = [way for way in known if way not in ours]
            chosen = self._rng.sample(others, min(WAYS_IN, len(others)))
            self._dial({way: known[way] for way in chosen}, now, is_probe=True)

    def dial_peer(self, node: NodeId, now: float) -> None:
        """Dial a peer where it said, when it answered our Attach, that it can be reached."""
        known = self._contacts.get(node)
        session = self._session(() if known is None else (known,))
        if self._connections.dial(session, Bootstrapping(peer=node), now) is None:
            self._topology.handle_unreachable(node, now)

    def linked(self, context: Bootstrapping, gateway: NodeId, now: float) -> None:
        """What we dialled is a node of the overlay. Where we did it can be found again, should it be lost."""
        if (connection := self._connections.get(gateway)) is not None:
            self._contacts.learn(gateway, connection.remote)
        if context.peer is not None:
            self._peer_linked(context.peer, gateway, now)
            return
        self._is_dialling = False
        if connection is not None:
            self.ways.won(connection.remote, context.refusals, now)
        if context.is_probe:
            self._topology.handle_probe_linked(gateway, now)
        else:
            self._topology.handle_gateway(gateway, now)

    def _peer_linked(self, wanted: NodeId, node: NodeId, now: float) -> None:
        if node == wanted:
            self._topology.handle_gateway(node, now)
        else:
            self._topology.handle_unreachable(wanted, now)

    def dial_failed(self, context: Bootstrapping, reason: str, now: float) -> None:
        """Nobody is there, or nobody that we could believe."""
        if context.peer is not None:
            self._topology.handle_unreachable(context.peer, now)
            return
        self._is_dialling = False
        self.ways.failed(context.refusals, reason, now)
        slower = {each.candidate.address for each in context.refusals if each.reason == SLOWER}
        self._passed_over = slower - {each.candidate.address for each in context.refusals if each.reason != SLOWER}
        if not context.is_probe:
            self._nobody(reason, now)

    def shut_out(self, connection: Connection, reason: str) -> None:
        """Who is in the overlay proved to be there, and closed the link before it said anything: it does not admit us.

        A certificate is judged after the handshake (6.5.1.11), and who is refused is told nothing. Whether it is
        revoked the newest configuration says, which a server may have.
        """
        self.trouble = (
            f"{connection.remote} does not admit this peer (link {reason}): its certificate may be revoked or have"
            " ended; ask the overlay's administrator"
        )
        if not self._is_shut_out:
            self._is_shut_out = True
            self._exchange.warn("not admitted", node=connection.node, reason=self.trouble)
            self._exchange.emit(ConfigurationOutdated(connection.node))

    def admitted(self) -> None:
        """Another node speaks with us, or we are the first."""
        self.trouble, self._is_shut_out = "", False

    def _failed(self, reason: str, now: float) -> None:
        if not self._topology.is_connected:
            # Who admits us not says more than that others do not answer.
            if not self._is_shut_out:
                self.trouble = f"no way into the overlay: {reason}"
            if not self._may_begin:
                self._exchange.note("no way into the overlay yet", reason=reason)
        self.begin_if_allowed(reason, now)

    def join_failed(self, reason: str, now: float, *, has_found_overlay: bool) -> None:
        """The topology has broken off an attempt to come in. It may be that those who are to be our neighbours, and
        only they, cannot be reached: then that is the trouble.
        """
        unreached = self._attempts.since(now - JOIN_ATTEMPT_S)
        facts = {"unreached": [*map(str, unreached)]} if unreached else {}
        self._exchange.warn("joining failed", reason=reason, **facts)
        if unreached and not self._is_shut_out:
            last = unreached[-1]
            self.trouble = f"not in the overlay yet, as peer {last.node.short} cannot be reached: {last.reason}"
        since = now if self._sought_since is None else self._sought_since
        if not has_found_overlay and now >= since + OUTSIDERS_S:
            self.begin_if_allowed(reason, now)

    def begin_if_allowed(self, why: str, now: float) -> None:
        """Begin the overlay: whoever we know is not there, or is outside of the ring like us."""
        if self._may_begin and not self._topology.is_serving and not self._is_listening(now):
            self._exchange.note("begins the overlay", why=why)
            self._topology.start_alone(now)

    def _is_listening(self, now: float) -> bool:
        """True while somebody on the same link may still say that there is an overlay. Who is at a configured address
        was chosen to begin it, and does not wait.
        """
        is_chosen = not set(self._configured()).isdisjoint(self._whereabouts.known(Purpose.RELOAD))
        since = now if self._sought_since is None else self._sought_since
        return self._lan.is_on and not is_chosen and now < since + HEARING_S

    # Neighbours that were lost

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """A neighbour may be found again, in another part of the overlay. A client is in none."""
        address = self._contacts.get(lost.node)
        if address is not None and lost.node in self._topology.neighbors and not self._is_client:
            self._lost.lost(address, now)

    def let_go(self, connection: Connection) -> None:
        """It is there, in this part of the overlay, and no neighbour any more."""
        self._lost.found(connection.remote)
        self._found(connection.node)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._timers.next_deadline(), self._lost.next_deadline()))

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self._lost.take_due(now):
            self._look_for_lost(now)
        for _ in self._timers.pop_due(now):
            self._ask_whereabouts(now)

    def _look_for_lost(self, now: float) -> None:
        """10.7.4.4, for one that did not say that it leaves: who is there, in what may be another part?"""
        for node in self._topology.neighbors:
            self._found(node)
        # Who is alone looks for the overlay anyway, in order to join it.
        if self._topology.is_leaving or not self._topology.routes:
            return
        if (address := self._lost.next_of(self._untried, now)) is not None:
            self._dial_beside([address], WayIn.LOST, now)

    def _found(self, node: NodeId) -> None:
        if (address := self._contacts.get(node)) is not None:
            self._lost.found(address)

    # Where to find the overlay the next time

    def ring_changed(self, now: float) -> None:
        """We may know others now."""
        self._mdns.look()
        self.remember_contacts()
        if "whereabouts" not in self._timers and self._of_unknown_whereabouts():
            self._timers.set("whereabouts", now + ASK_AFTER_S * self._rng.uniform(0.5, 1.5), "ask who can be dialled")

    def _of_unknown_whereabouts(self) -> list[NodeId]:
        """Who has dialled us, as a new peer does the first one, has not said where it can be dialled itself. Of so many
        that is asked as are remembered, of each once.
        """
        self._asked &= set(self._connections)
        linked = [node for node in sorted(self._connections) if node in self._topology.routes]
        unknown = [node for node in linked if self._contacts.get(node) is None and node not in self._asked]
        return unknown[: max(0, CONTACTS_KEPT - (len(linked) - len(unknown)))]

    def _ask_whereabouts(self, now: float) -> None:
        for node in self._of_unknown_whereabouts():
            self._asked.add(node)
            self._intents.ask_whereabouts(node, now)

    def remember_contacts(self) -> None:
        """Say where peers that we are linked with can be dialled, if that has changed."""
        links = sorted(self._connections.all(), key=lambda link: -link.came_up_at)
        addresses = [address for link in links if (address := self._contacts.get(link.node)) is not None]
        # 11.4: "Peers that are not directly connected MUST NOT be cached." Those that were stay behind those that are,
        # as long as there is room: who has one link left is to know more than one way back.
        remembered = dict.fromkeys([*dict.fromkeys((*addresses, *self._remembered))][:CONTACTS_KEPT])
        if addresses and list(remembered) != list(self._remembered):
            self._remembered = remembered
            self._exchange.emit(ContactsChanged(tuple(remembered)))
