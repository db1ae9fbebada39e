"""The addresses that relays lend to one node: one TURN client for each port of ours at each relay.

A relay is asked over datagrams; where these do not pass, over a stream, which is there for one allocation, and dialled
first. Whatever is done with the address is the same then.

Theory of operation. An allocation is made for a base, which is a port of ours, at a relay. From when it is there its
addresses are candidates of that base. Who is sent to from one of them has to be permitted by the relay first; what is
to go out meanwhile is kept, the newest for each, as a check that is lost costs half a second.

      allocate ---> (asked) ---RelayTaken---> lent ---RelayGone--->
                       '-------RelayGone------------------------->
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address, without_zone
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.demux import DatagramKind, kind_of
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.limits import RELAYED_HELD_MAX
from p2psip.reload.paths.relays.relay_values import (
    DialRelay,
    DropRelayed,
    RelayedCame,
    RelayGone,
    RelayTaken,
    UseRelayed,
    WriteStream,
)
from p2psip.reload.paths.values import HangUp, SendStun, StunArrived
from p2psip.stun.attributes import Family
from p2psip.stun.credentials import StunCredential
from p2psip.turn.client import TurnClient
from p2psip.turn.client_values import Allocated, NotPermitted, Permitted, RelayedData, RelayLost
from p2psip.turn.methods import is_of_turn
from p2psip.turn.peers import Scope, scope_of
from p2psip.turn.values import Flow, Transmit

FAMILIES: Final = (Family.IPV4, Family.IPV6)
"""Both are asked for: a relay that has only one of them lends that."""

DOUBT_APART_S: Final = 1.0
"""So often relays are asked, however many paths do not answer."""


@dataclass(slots=True)
class _Lent:
    client: TurnClient
    stream: int | None = None
    """The number of the connection that it goes over, once that is up."""
    addresses: tuple[Address, ...] = ()
    held: dict[Address, bytes] = field(default_factory=dict)
    """By remote what waits for its permission."""
    is_given_back: bool = False
    """True from when it is, to when the relay has heard of that: until then it leads here, if anything does."""
    is_told: bool = True
    """False of what is given back soon, and serves the paths that there are until then."""


class RelayedAddresses:
    """All allocations of one node. Containment is of addresses that are lent to us."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess."""
        self._rng = rng
        self._lent: dict[Flow, _Lent] = {}
        self._by_relayed: dict[Address, Flow] = {}
        self._by_stream: dict[int, Flow] = {}
        self._timers: Timers[Flow] = Timers(queue)
        self._doubted_at = -math.inf
        self._arrived: list[StunArrived] = []
        self._effects: list[Effect] = []

    def __contains__(self, address: object) -> bool:
        return address in self._by_relayed

    @property
    def is_over_streams(self) -> bool:
        """True if a relay is reached over a stream, as datagrams do not pass."""
        return any(flow.is_stream for flow in self._lent)

    # Commands

    def allocate(
        self, base: Address, relay: Address, credential: StunCredential, now: float, *, over_stream: bool = False
    ) -> None:
        """Ask a relay for addresses, for a port of ours: RelayTaken follows, or RelayGone. If it was asked before, the
        credential is for when it does not take the one before any more.
        """
        flow = Flow(base, relay, over_stream)
        if (lent := self._lent.get(flow)) is not None:
            lent.client.use_credential(credential)
            lent.is_told = True
            return
        lent = self._lent[flow] = _Lent(TurnClient(flow, credential, self._rng, FAMILIES))
        if over_stream:
            self._effects.append(DialRelay(base, relay))
            return
        lent.client.allocate(now)
        self._collect(flow, now)

    def release(self, base: Address, relay: Address, now: float, *, over_stream: bool = False) -> None:
        """Give back what a relay lends us, once it has heard of that; RelayGone follows."""
        flow = Flow(base, relay, over_stream)
        if flow in self._lent:
            self._lent[flow].is_given_back = True
            self._lent[flow].client.close(now)
            self._collect(flow, now)

    def tell_nobody(self, base: Address, relay: Address, *, over_stream: bool = False) -> None:
        """What a relay lends is given back soon: whoever looks for a path now is not to find one over it."""
        if (lent := self._lent.get(Flow(base, relay, over_stream))) is not None:
            lent.is_told = False

    def _flows(self, base: Address, relay: Address) -> list[Flow]:
        return [flow for flow in (Flow(base, relay), Flow(base, relay, True)) if flow in self._lent]

    def doubt(self, now: float) -> None:
        """Paths do not answer: do the relays still know us, at the address that we have now? They are asked at once."""
        if now < self._doubted_at + DOUBT_APART_S:
            return
        self._doubted_at = now
        for flow, lent in list(self._lent.items()):
            lent.client.doubt(now)
            self._collect(flow, now)

    def is_over_stream(self, relayed: Address) -> bool:
        """True for an address that is lent to us over a stream."""
        flow = self._by_relayed.get(relayed)
        return flow is not None and flow.is_stream

    def base_of(self, relayed: Address) -> Address:
        """The port of ours that an address belongs to; itself if it is not lent to us."""
        flow = self._by_relayed.get(relayed)
        return relayed if flow is None else flow.local

    def of(self, base: Address, relay: Address) -> tuple[Address, ...]:
        """What one relay lends to one port."""
        return tuple(address for flow in self._flows(base, relay) for address in self._lent[flow].addresses)

    def mapped(self, addresses: Sequence[Address]) -> list[Mapped]:
        """What is lent to the ports at these addresses, and may be told to others."""
        ports = {address.port for address in addresses}
        return [
            Mapped(relayed, flow.local, flow.remote)
            for relayed, flow in self._by_relayed.items()
            if flow.local.port in ports and self._lent[flow].is_told and not self._lent[flow].is_given_back
        ]

    def permit(self, hosts: Iterable[str], now: float) -> None:
        """These may be sent to soon, as it is there that somebody says to be."""
        wanted = sorted({without_zone(host) for host in hosts})
        for flow, lent in list(self._lent.items()):
            if lent.addresses:
                for group in _alike(wanted, flow.remote.host):
                    lent.client.permit(group, now)
                self._collect(flow, now)

    def use_path(self, relayed: Address, remote: Address, now: float) -> None:
        """Much will go between these two: it is to cost less."""
        if (flow := self._by_relayed.get(relayed)) is not None:
            self._lent[flow].client.bind(remote, now)
            self._collect(flow, now)

    def send(self, relayed: Address, remote: Address, data: bytes, now: float) -> None:
        """Send from a relayed address, as well as it goes."""
        flow = self._by_relayed.get(relayed)
        if flow is None:
            return
        lent = self._lent[flow]
        if not lent.client.send(remote, data, now) and _may_be_permitted(remote.host, flow.remote.host):
            lent.held.pop(remote, None)
            while len(lent.held) >= RELAYED_HELD_MAX:
                del lent.held[next(iter(lent.held))]
            lent.held[remote] = data
            lent.client.permit([remote.host], now)
        self._collect(flow, now)

    # From the driver

    def handle(self, arrived: StunArrived, now: float) -> bool:
        """True if a datagram is of one of our relays, and of what it relays to us: then nobody else need look at it."""
        flow = Flow(arrived.local, arrived.remote)
        lent = self._lent.get(flow)
        if lent is None or not is_of_turn(arrived.data):
            return False
        lent.client.handle_data(arrived.data, now)
        self._collect(flow, now)
        return True

    def stream_up(self, dialled: DialRelay, number: int, now: float) -> bool:
        """The stream with a relay is there, under this number; False if nobody wants it any more."""
        flow = Flow(dialled.base, dialled.relay, True)
        lent = self._lent.get(flow)
        if lent is None:
            return False
        lent.stream = number
        self._by_stream[number] = flow
        lent.client.allocate(now)
        self._collect(flow, now)
        return True

    def stream_came(self, number: int, data: bytes, now: float) -> None:
        """Bytes of a relay."""
        if (flow := self._by_stream.get(number)) is not None:
            self._lent[flow].client.handle_data(data, now)
            self._collect(flow, now)

    def not_dialled(self, dialled: DialRelay, reason: str, now: float) -> None:
        """There is no stream with a relay."""
        self._unreachable(Flow(dialled.base, dialled.relay, True), reason, now)

    def stream_down(self, number: int, reason: str, now: float) -> None:
        """A stream has ended; no matter if it was none of ours."""
        if (flow := self._by_stream.pop(number, None)) is not None:
            self._lent[flow].stream = None
            self._unreachable(flow, reason, now)

    def _unreachable(self, flow: Flow, reason: str, now: float) -> None:
        if (lent := self._lent.get(flow)) is not None:
            lent.client.handle_unreachable(reason)
            self._collect(flow, now)

    def hosts_gone(self, hosts: Collection[str], now: float) -> None:
        """These addresses of ours are gone, and with them what was lent to their ports."""
        for flow in [flow for flow in self._lent if flow.local.host in hosts]:
            self._unreachable(flow, "the address of this end is gone", now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Refresh, ask again, look whether the relays are there."""
        for flow in self._timers.pop_due(now):
            self._lent[flow].client.handle_timeout(now)
            self._collect(flow, now)

    def take(self) -> list[StunArrived]:
        """STUN that has come to relayed addresses since the last call."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, and what has become of allocations, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _collect(self, flow: Flow, now: float) -> None:
        lent = self._lent[flow]
        while effects := lent.client.drain():
            for effect in effects:
                self._handle(flow, lent, effect, now)
        if flow in self._lent and (deadline := lent.client.next_deadline()) is not None:
            self._timers.set(flow, deadline.at, deadline.reason)
        else:
            self._timers.cancel(flow)

    def _handle(self, flow: Flow, lent: _Lent, effect: Effect, now: float) -> None:
        match effect:
            case Transmit(_, data) if flow.is_stream:
                if lent.stream is not None:
                    self._effects.append(WriteStream(lent.stream, data))
            case Transmit(_, data):
                self._effects.append(SendStun(flow.local, flow.remote, data))
            case RelayedData(peer, data):
                self._came(flow, lent, peer, data)
            case Permitted(host):
                for remote in [remote for remote in lent.held if remote.host == host]:
                    lent.client.send(remote, lent.held.pop(remote), now)
            case NotPermitted(host):
                for remote in [remote for remote in lent.held if remote.host == host]:
                    del lent.held[remote]
            case Allocated(relayed):
                lent.addresses = relayed
                self._by_relayed |= dict.fromkeys(relayed, flow)
                self._effects += [UseRelayed(address, flow.local) for address in relayed]
                self._effects.append(RelayTaken(flow.local, flow.remote, relayed, flow.is_stream))
            case RelayLost(loss, reason, retry_after_s):
                del self._lent[flow]
                for address in lent.addresses:
                    del self._by_relayed[address]
                    self._effects.append(DropRelayed(address))
                if lent.stream is not None:
                    del self._by_stream[lent.stream]
                    self._effects.append(HangUp(lent.stream, reason))
                gone = RelayGone(flow.local, flow.remote, lent.addresses, loss, reason, retry_after_s, flow.is_stream)
                self._effects.append(gone)

    def _came(self, flow: Flow, lent: _Lent, peer: Address, data: bytes) -> None:
        family = Family.of(peer.host)
        relayed = next((each for each in lent.addresses if Family.of(each.host) is family), None)
        kind = kind_of(data)
        if relayed is None:
            return
        if kind is DatagramKind.DTLS:
            self._effects.append(RelayedCame(relayed, peer, data))
        elif kind is DatagramKind.STUN and not is_of_turn(data):
            self._arrived.append(StunArrived(relayed, peer, data))


def _may_be_permitted(host: str, relay: str) -> bool:
    """A relay relays to no network inside, unless it stands there itself, and so do we and the other end."""
    scope = scope_of(host)
    return scope is Scope.GLOBAL or (scope is not Scope.NONE and scope is scope_of(relay))


def _alike(hosts: Sequence[str], relay: str) -> list[list[str]]:
    """Those that a relay permits, in requests that are refused or not as a whole: one that is not global is alone."""
    worth = [host for host in hosts if _may_be_permitted(host, relay)]
    outside = [host for host in worth if scope_of(host) is Scope.GLOBAL]
    return [group for group in (outside, *([host] for host in worth if host not in outside)) if group]
