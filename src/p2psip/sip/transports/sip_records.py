"""SIP over DTLS between two peers (docs/decisions/call-paths.md): a message a record, or in fragments what is longer.

What a record is, its first byte says: SIP begins with a letter, a keep-alive with CR, frames of media with 1 or 2
(media/relay/multiplex.py), and what is in here with 3:

| bytes | |
|---|---|
| 1 | 3 |
| 4 | number of the message: its CRC-32 |
| 1 | number of the fragment, from 0 |
| 1 | how many fragments there are |
| n | the fragment |

As the number is made of the message, a message that SIP sends again has the same: what was lost of the one copy is
taken from the other. A greeting has no fragments (count 0): by that the other end is known to take them. Number 0 asks
for one in return.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.timers import Deadline, Timers
from p2psip.sip.message.limits import MESSAGE_BYTES

FRAGMENT: Final = 3
_HEADER: Final = struct.Struct("!BIBB")
FRAGMENTS_MAX: Final = 255

GREETING: Final = _HEADER.pack(FRAGMENT, 0, 0, 0)
"""We take fragments; do you?"""

GREETED: Final = _HEADER.pack(FRAGMENT, 1, 0, 0)
"""We do as well."""


@dataclass(frozen=True, slots=True)
class FragmentLimits:
    """Bounds on what one other peer can have us hold, in one table."""

    messages: int = 16
    """Of which some fragments have come; for one more the oldest is given up."""
    message_bytes: int = MESSAGE_BYTES
    held_bytes: int = 256 * 1024
    """Of all of them together."""
    held_s: float = 9.0
    """For the rest of a message: SIP sends it again after 0.5, 1.5, 3.5 and 7.5 s (timers A and E)."""


class MalformedRecord(RemoteProtocolError):
    """These bytes are no fragment."""


def records_of(message: bytes, record_bytes: int, *, takes_fragments: bool) -> list[bytes]:
    """A message in records of at most so many bytes; in one, whatever its length, for who takes no fragments."""
    room = record_bytes - _HEADER.size
    count = -(-len(message) // max(room, 1))
    if len(message) <= record_bytes or not takes_fragments or count > FRAGMENTS_MAX:
        return [message]
    number = zlib.crc32(message)
    starts = range(0, len(message), room)
    return [
        _HEADER.pack(FRAGMENT, number, index, count) + message[start : start + room]
        for index, start in enumerate(starts)
    ]


def is_of_short_records(record: bytes, record_bytes: int) -> bool:
    """True of a fragment that would be longer, did whoever sent it make records of more than so many bytes."""
    if not _HEADER.size < len(record) <= record_bytes:
        return False
    _, _, index, count = _HEADER.unpack_from(record)
    return bool(index + 1 < count)


@dataclass(slots=True)
class _Partial:
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0


class Reassembly:
    """Makes messages of the fragments that come from one other peer."""

    def __init__(self, limits: FragmentLimits | None = None) -> None:
        self._limits = limits or FragmentLimits()
        self._partials: dict[tuple[int, int], _Partial] = {}
        """By number and count, the oldest first."""
        self._timers: Timers[tuple[int, int]] = Timers()

    @property
    def held_bytes(self) -> int:
        """What has come of messages that are not complete."""
        return sum(each.size for each in self._partials.values())

    def feed(self, record: bytes, now: float) -> bytes | None:
        """A fragment has come: the message, if that is complete now. Raises MalformedRecord."""
        if len(record) <= _HEADER.size:
            raise MalformedRecord(f"{len(record)} bytes are too few for a fragment")
        _, number, index, count = _HEADER.unpack_from(record)
        if index >= count:
            raise MalformedRecord(f"fragment {index} of {count}")
        key = number, count
        self._partials.setdefault(key, _Partial())
        self._timers.set(key, now + self._limits.held_s, "the rest of a SIP message")
        self._add(key, index, record[_HEADER.size :])
        return self._complete(key)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Give up what did not become complete."""
        for key in self._timers.pop_due(now):
            del self._partials[key]

    def _add(self, key: tuple[int, int], index: int, part: bytes) -> None:
        partial, limits = self._partials[key], self._limits
        partial.size += len(part) - len(partial.parts.get(index, b""))
        partial.parts[index] = part
        if partial.size > limits.message_bytes:
            self._forget(key)
            raise MalformedRecord(f"a message of more than {limits.message_bytes} bytes")
        while len(self._partials) > limits.messages or self.held_bytes > limits.held_bytes:
            self._forget(next(iter(self._partials)))

    def _complete(self, key: tuple[int, int]) -> bytes | None:
        number, count = key
        partial = self._partials.get(key)
        if partial is None or len(partial.parts) < count:
            return None
        self._forget(key)
        message = b"".join(partial.parts[index] for index in range(count))
        if zlib.crc32(message) != number:
            raise MalformedRecord("the fragments are not of one message")
        return message

    def _forget(self, key: tuple[int, int]) -> None:
        del self._partials[key]
        self._timers.cancel(key)
