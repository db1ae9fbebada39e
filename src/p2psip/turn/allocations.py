"""What a relay holds for its clients (RFC 8656 sections 6, 9 and 12)."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.stun.attributes import AddressError, Family
from p2psip.turn.limits import CHANNEL_S, PERMISSION_S
from p2psip.turn.values import Flow


@dataclass(slots=True)
class _Channel:
    peer: Address
    until: float


@dataclass(slots=True)
class Allocation:
    """One client's relayed addresses, and to whom they are open."""

    flow: Flow
    owner: str
    transaction: bytes
    """Of the request that made it: 7.2, "to detect retransmissions"."""
    relayed: dict[Family, Address]
    error: AddressError | None
    until: dict[Family, float]
    heard_at: float
    """When its client last said anything."""
    _permissions: dict[str, float] = field(default_factory=dict)
    _channels: dict[int, _Channel] = field(default_factory=dict)
    _numbers: dict[Address, int] = field(default_factory=dict)

    def permits(self, host: str, now: float) -> bool:
        """9: "only addresses are compared and port numbers are not considered"."""
        return now < self._permissions.get(host, now)

    def permit(self, hosts: set[str], permissions_max: int, now: float) -> bool:
        """Install or refresh permissions; False if they were too many, and then none is."""
        if len(self._permissions.keys() | hosts) > permissions_max:
            self._permissions = {host: until for host, until in self._permissions.items() if now < until}
        if len(self._permissions.keys() | hosts) > permissions_max:
            return False
        for host in hosts:
            self._permissions[host] = now + PERMISSION_S
        return True

    def peer_of(self, number: int, now: float) -> Address | None:
        """To whom a channel is bound."""
        channel = self._channels.get(number)
        return channel.peer if channel is not None and now < channel.until else None

    def channel_of(self, peer: Address, now: float) -> int | None:
        """Which channel is bound to a peer."""
        number = self._numbers.get(peer)
        return number if number is not None and self.peer_of(number, now) is not None else None

    def has_room_for_channel(self, number: int, channels_max: int, now: float) -> bool:
        """True if one more may be bound, or this one anew."""
        if number not in self._channels and len(self._channels) >= channels_max:
            for old in [each for each, channel in self._channels.items() if now >= channel.until]:
                del self._numbers[self._channels.pop(old).peer]
        return number in self._channels or len(self._channels) < channels_max

    def bind(self, number: int, peer: Address, now: float) -> None:
        """Bind a channel, or refresh it. Neither may be bound otherwise."""
        if (before := self._channels.get(number)) is not None:
            del self._numbers[before.peer]
        if (old := self._numbers.pop(peer, None)) is not None:
            del self._channels[old]
        self._channels[number] = _Channel(peer, now + CHANNEL_S)
        self._numbers[peer] = number

    def drop(self, family: Family) -> Address:
        """8.1: without the addresses of one family, and without what was open to it."""
        del self.until[family]
        for number in [each for each, channel in self._channels.items() if Family.of(channel.peer.host) is family]:
            del self._numbers[self._channels.pop(number).peer]
        self._permissions = {host: until for host, until in self._permissions.items() if Family.of(host) is not family}
        return self.relayed.pop(family)
