"""The media of a mixer: a room for all calls that belong together (a `CallMedia`, as media/engine.py is)."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable

from p2psip.base.timers import Deadline, earliest
from p2psip.media.g711 import PCMU
from p2psip.media.mixing.mixed_room import MixedRoom, MixedSession
from p2psip.media.negotiation import Address, Agreement, Direction
from p2psip.media.session import MediaReport, SendRtp
from p2psip.media.sounds import Sound


class MixingEngine:
    """Sans-I/O: datagrams that came to a media address in, `SendRtp` out."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seats: dict[Hashable, tuple[str, bool]] = {}
        """In which room, and whether he is heard there."""
        self._beside: dict[Hashable, list[MixedSession]] = {}
        """Who is sent as well what goes into the room of a call, and has no call."""
        self._rooms: dict[str, MixedRoom] = {}
        self._members: dict[Hashable, MixedSession] = {}
        self._by_local: dict[Address, MixedSession] = {}
        self._locals: dict[Hashable, Address] = {}
        self._outbox: list[SendRtp] = []

    def seat(self, call: Hashable, room: str, *, speaks: bool = True) -> None:
        """A call belongs to this room, before it is answered; it is heard there if it `speaks`."""
        self._seats[call] = (room, speaks)

    def send_as_well(self, call: Hashable, places: Iterable[tuple[Address, Address]]) -> None:
        """As long as this call lasts, whoever listens at these addresses hears its room, in PCMU: where, and from
        which address of ours.
        """
        room = self._rooms[self._seats[call][0]]
        for remote, local in places if call not in self._beside else ():
            agreement = Agreement(remote, PCMU, PCMU.payload_type, Direction.SENDONLY)
            member = MixedSession(local, agreement, self._rng, speaks=False)
            self._beside.setdefault(call, []).append(member)
            room.members.append(member)

    def start(
        self, call: Hashable, local: Address, agreement: Agreement, now: float, sound: Sound | None = None
    ) -> None:
        """A call is answered, or what was agreed before has changed. Nobody in a room hears a `sound` of his own."""
        if call in self._members:
            self._members[call].change(agreement)
            return
        name, speaks = self._seats[call]
        member = MixedSession(local, agreement, self._rng, speaks=speaks)
        self._members[call] = self._by_local[local] = member
        self._locals[call] = local
        self._rooms.setdefault(name, MixedRoom(now)).members.append(member)

    def stop(self, call: Hashable) -> MediaReport | None:
        """A call has ended; None if it never had media."""
        seat, member = self._seats.pop(call, None), self._members.pop(call, None)
        if seat is None or member is None:
            return None
        del self._by_local[self._locals.pop(call)]
        room = self._rooms[seat[0]]
        for each in (member, *self._beside.pop(call, ())):
            room.members.remove(each)
        if not room.members:
            del self._rooms[seat[0]]
        return member.end.report()

    def heard(self, call: Hashable) -> int:
        """How many packets have come of a call so far."""
        return self._members[call].heard if call in self._members else 0

    def handle_datagram(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came; to an address without a call it is dropped."""
        if (member := self._by_local.get(local)) is not None:
            member.hear(remote, data, now)

    def handle_timeout(self, now: float) -> None:
        """Mix what is due."""
        for room in self._rooms.values():
            if room.next_deadline().at <= now:
                self._outbox += room.mix(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest(room.next_deadline() for room in self._rooms.values())

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""
        outbox, self._outbox = self._outbox, []
        return outbox
