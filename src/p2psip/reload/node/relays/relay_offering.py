"""Offers a relay to other members, and says so in the overlay (RFC 6940 section 9).

Theory of operation. Where the operator's word and what is known of this machine permit it, the TURN server at the ports
of links is on. It is recorded at as many places as the overlay's turn-density says, and refreshed there; who finds it,
or is linked with this node, asks for a credential by a message of its own (wire/usages/relay_access.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from p2psip.base.address import Address
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.relays.relay_terms import RelayContext, RelayTerms, RelayWish
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import Purpose
from p2psip.reload.security.sealed_answer import CannotUnseal, seal
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.usages.turn_service import ITERATIONS_MAX, REFRESH_S, remove_request, store_request
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import TURN_SERVICE
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns
from p2psip.reload.wire.rejections import InvalidMessage, NotFound, Rejection
from p2psip.reload.wire.usages.relay_access import RELAY_ACCESS, RelayAccessAns, RelayAccessReq
from p2psip.turn.peers import Scope, scope_of
from p2psip.turn.values import RelaySettings

CREDENTIAL_S: Final = 3600
"""How long a credential is good: who is expelled can use the relay for so long."""

RETRY_FIRST_S: Final = 5.0
RETRY_MAX_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class RelayRecordContext(RelayContext):
    """A Store of a record of ours, or of its end."""

    iteration: int


class RelayOffering:
    """The relay of one node, as others come to know of it."""

    def __init__(
        self, exchange: Exchange, data: Data, topology: Topology, paths: Paths, terms: RelayTerms, rng: random.Random
    ) -> None:
        self._exchange = exchange
        self._data = data
        self._topology = topology
        self._paths = paths
        self._terms = terms
        self._rng = rng
        self._is_open = False
        self._retry_s: dict[int, float] = {}
        self._recorded: set[int] = set()
        self._storing: set[int] = set()
        self._timers: Timers[int] = exchange.queue.scope()

    @property
    def is_offered(self) -> bool:
        """True while this node relays."""
        return self._paths.own_relay.is_offered

    def use_reach(self, *, is_open: bool, now: float) -> None:
        """Others say whether any port of this machine can be reached at its own address."""
        self._is_open = is_open
        self.consider(now)

    def consider(self, now: float) -> None:
        """Relay, or do not, as things stand now."""
        wish, whereabouts = self._terms.wish, self._paths.whereabouts
        is_wanted = wish is RelayWish.YES or (wish is RelayWish.AUTO and self._is_open)
        hosts = self._hosts() if is_wanted and whereabouts.has_ice and not self._topology.is_leaving else ()
        was_offered = self.is_offered
        if hosts:
            everywhere = {address for addresses in whereabouts.addresses.values() for address in addresses}
            own_hosts = frozenset(address.host for address in everywhere)
            realm = self._exchange.configuration.instance_name
            # Where datagrams do not pass, the relay is the way to this node as well.
            punched = filter(whereabouts.is_punched, whereabouts.addresses)
            paths = {each for purpose in punched for each in whereabouts.own(purpose)}
            settings = RelaySettings(realm, hosts, own_hosts, frozenset(everywhere), frozenset(paths))
            self._paths.own_relay.offer(settings, self._terms.limits, now)
        elif was_offered:
            self._paths.own_relay.withdraw(now)
        if self.is_offered is not was_offered:
            self._exchange.note("relay offered" if self.is_offered else "relay withdrawn", at=", ".join(hosts))
            self._record_all(now)

    def joined(self, now: float) -> None:
        """The overlay can be reached: what is not recorded yet is recorded now."""
        if self.is_offered and not (self._recorded or self._storing or len(self._timers)):
            self._record_all(now)

    def _hosts(self) -> tuple[str, ...]:
        """Where ports are opened for others: one address of each family, of those that most can reach."""
        return best_hosts(address.host for address in self._paths.whereabouts.addresses[Purpose.RELOAD])

    def _servers(self) -> list[Address]:
        """Where the relay is asked: at the ports of links, whose addresses are those of its own ports."""
        hosts = self._hosts()
        return [address for address in self._paths.whereabouts.addresses[Purpose.RELOAD] if address.host in hosts]

    # Who asks for it

    def handle_access(self, request: Received, body: bytes, now: float) -> None:
        """Another member asks whether it may use the relay. Raises a Rejection."""
        if not self.is_offered:
            raise NotFound("no relay runs here")
        try:
            asked = RelayAccessReq.decode(body)
            credential = self._paths.own_relay.issue(str(request.signer.node_id), CREDENTIAL_S, now)
            assert credential is not None, "a relay is offered"
            key, sealed = seal(asked.key, credential.password.encode(), RELAY_ACCESS, self._rng)
        except (DecodeError, CannotUnseal) as error:
            raise InvalidMessage(str(error)) from None
        servers = tuple(IpAddressPort.of(*address) for address in self._servers())
        answer = RelayAccessAns(servers, credential.username.encode(), CREDENTIAL_S, key, sealed)
        self._exchange.answer(request, PrivateAns(answer.encode()))

    # Records

    def _record_all(self, now: float) -> None:
        """9: "for each value, called d, between 1 and turn-density"."""
        kind = self._data.storage.rules.kinds.get(TURN_SERVICE)
        if kind is None or not self._topology.is_connected:
            return
        last = min(self._exchange.configuration.turn_density, kind.max_node_multiple, ITERATIONS_MAX)
        wanted = range(1, last + 1) if self.is_offered else sorted(self._recorded)
        for iteration in wanted:
            self._record(iteration, now)

    def _record(self, iteration: int, now: float) -> None:
        identity, servers = self._exchange.identity, self._servers()
        hash_name = self._data.storage.rules.hash_name
        try:
            issued = self._data.issue_storage_time(identity.node_id, now)
        except Rejection as error:
            self._failed(iteration, str(error), now)
            return
        if self.is_offered and servers:
            request = store_request(identity, iteration, servers[0], issued.storage_time_ms, hash_name)
        else:
            request = remove_request(identity, iteration, issued.storage_time_ms, hash_name)
        route = [Destination.resource(request.resource)]
        asked = OverlayRequest(route, MessageCode.STORE_REQ, request, identity, after=issued.after)
        if self._exchange.request(asked, RelayRecordContext(iteration), now) is None:
            self._failed(iteration, "too many requests under way", now)
        else:
            self._storing.add(iteration)

    def handle_outcome(self, context: RelayRecordContext, outcome: Outcome, now: float) -> None:
        """What became of a Store."""
        iteration = context.iteration
        self._storing.discard(iteration)
        if not isinstance(outcome, Answer):
            self._failed(iteration, str(failure_of(outcome)), now)
            return
        self._retry_s.pop(iteration, None)
        if self.is_offered:
            self._recorded.add(iteration)
            self._timers.set(iteration, now + REFRESH_S, "a relay is recorded anew")
        else:
            self._recorded.discard(iteration)

    def _failed(self, iteration: int, why: str, now: float) -> None:
        pause_s = self._retry_s.get(iteration, RETRY_FIRST_S)
        self._retry_s[iteration] = min(RETRY_MAX_S, 2 * pause_s)
        self._exchange.note("relay not recorded", iteration=iteration, why=why)
        if self.is_offered:
            self._timers.set(iteration, now + pause_s, "a relay is recorded again")

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Record what is due."""
        for iteration in self._timers.pop_due(now):
            if self.is_offered and self._topology.is_connected:
                self._record(iteration, now)
            else:
                self._recorded.discard(iteration)


def best_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """One of each family, of those that most can reach."""
    hosts = list(hosts)
    for scope in (Scope.GLOBAL, Scope.PRIVATE, Scope.LOOPBACK):
        if there := [host for host in hosts if scope_of(host) is scope]:
            families = {":" in host: host for host in reversed(there)}
            return tuple(families[is_ipv6] for is_ipv6 in sorted(families))
    return ()
