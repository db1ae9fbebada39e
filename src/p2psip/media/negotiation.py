"""Offer and answer (RFC 3264) for one stream of telephone audio: PCMU or PCMA, and telephone-event kept."""

from __future__ import annotations

import enum
import ipaddress
import random
from dataclasses import dataclass, replace

from p2psip.base.address import without_zone
from p2psip.media.g711 import CODECS, SAMPLE_RATE_HZ, AudioCodec
from p2psip.media.sdp import Attribute, MalformedSdp, MediaDescription, Origin, SessionDescription

Address = tuple[str, int]

PROTOCOL = "RTP/AVP"
EVENT_NAME = "telephone-event"
EVENT_PAYLOAD_TYPE = 101
PTIME_MS = 20
PTIMES_MS = range(10, 61)


class Direction(enum.Enum):
    """Which way media flows, as the one who says it sees it (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Media goes out."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Media comes in."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        """The direction that does this."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE

    def answered_with(self, wish: Direction) -> Direction:
        """What we answer to this offer if we wish for `wish` (RFC 3264 section 6.1)."""
        return Direction.of(sends=self.receives and wish.sends, receives=self.sends and wish.receives)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides agreed on: send `codec` as `payload_type` to `remote`, as far as `direction` (ours) permits.

    `event_payload_type` is telephone-event's number, None if the other side has none.
    """

    remote: Address
    codec: AudioCodec
    payload_type: int
    direction: Direction
    event_payload_type: int | None = None
    ptime_ms: int = PTIME_MS


Formats = tuple[AudioCodec, int, int | None]
"""The codec, its payload type, and the payload type of telephone-event, of a stream that we know."""


class Negotiation:
    """One call's side of offer and answer; `agreement` is what holds now."""

    def __init__(self, local: Address, rng: random.Random) -> None:
        self.local = local
        self.agreement: Agreement | None = None
        self.direction = Direction.SENDRECV
        self._session_id = rng.getrandbits(32)
        self._session_version = 0
        self._last: tuple[MediaDescription, ...] = ()

    def offer(self) -> bytes:
        """Our offer: all codecs that we have, the preferred one first, and the direction that we wish for."""
        event = self.agreement.event_payload_type if self.agreement else None
        formats = [(codec.payload_type, codec.name) for codec in CODECS]
        audio = self._audio([*formats, (event or EVENT_PAYLOAD_TYPE, EVENT_NAME)], self.direction)
        # 8: "if the previous SDP had N "m=" lines, the new SDP MUST have at least N "m=" lines", refused ones too.
        return self._describe([audio if media.port else media for media in self._last] or [audio])

    def accept(self, answer: bytes) -> bool:
        """Read the answer to our offer; False if it leaves us nothing to talk with."""
        session = SessionDescription.decode(answer)
        # 6: "The answer MUST contain exactly the same number of "m=" lines as the offer."
        if len(session.media) != len(self._last):
            raise MalformedSdp(f"the answer has {len(session.media)} media descriptions, the offer {len(self._last)}")
        theirs = next(media for media, ours in zip(session.media, self._last, strict=True) if ours.port)
        agreement = self._agree(session, theirs)
        self.agreement = agreement or self.agreement
        return agreement is not None

    def answer(self, offer: bytes) -> bytes | None:
        """Our answer to an offer, or None if it has no audio that we know."""
        session = SessionDescription.decode(offer)
        agreements = [(media, self._agree(session, media)) for media in session.media]
        chosen, agreement = next((pair for pair in agreements if pair[1]), (None, None))
        if agreement is None:
            return None
        self.agreement = agreement
        # 6: "For each "m=" line in the offer, there MUST be a corresponding "m=" line in the answer."
        ours = self._audio(_answered_formats(agreement), agreement.direction)
        # 6: "The "t=" line in the answer MUST equal that of the offer."
        return self._describe([ours if media is chosen else _refused(media) for media in session.media], session.timing)

    def _agree(self, session: SessionDescription, media: MediaDescription) -> Agreement | None:
        """What this stream makes us agree on, None if it is no audio that we know."""
        formats = _known_formats(media)
        address = unicast(media.address if media.address is not None else session.address)
        if formats is None or address is None:
            return None
        theirs = direction_of(session, media)
        if address.is_unspecified:
            # 8.4: "An agent MUST be capable of receiving SDP with a connection address of 0.0.0.0, in which case it
            # means that neither RTP nor RTCP should be sent to the peer."
            theirs = Direction.of(sends=theirs.sends, receives=False)
        codec, payload_type, event_payload_type = formats
        direction, ptime_ms = theirs.answered_with(self.direction), _ptime_ms(media)
        return Agreement((str(address), media.port), codec, payload_type, direction, event_payload_type, ptime_ms)

    def _describe(self, media: list[MediaDescription], timing: str = "0 0") -> bytes:
        """The description of these streams; section 8: a changed one has its version incremented by one."""
        described = tuple(media)
        if described != self._last:
            self._session_version += 1
            self._last = described
        address = without_zone(self.local[0])
        origin = Origin(self._session_id, self._session_version, address)
        return SessionDescription(origin, described, address, timing=timing).encode()

    def _audio(self, formats: list[tuple[int, str]], direction: Direction) -> MediaDescription:
        attributes = [Attribute("rtpmap", f"{number} {name}/{SAMPLE_RATE_HZ}") for number, name in formats]
        attributes += [Attribute("fmtp", f"{number} 0-15") for number, name in formats if name == EVENT_NAME]
        attributes += [Attribute("ptime", str(PTIME_MS)), Attribute(direction.value)]
        numbers = tuple(str(number) for number, _ in formats)
        return MediaDescription("audio", self.local[1], PROTOCOL, numbers, attributes=tuple(attributes))


def _answered_formats(agreement: Agreement) -> list[tuple[int, str]]:
    """6.1: the offerer's own numbers, for one codec, so that nobody need guess which one comes."""
    formats = [(agreement.payload_type, agreement.codec.name)]
    if agreement.event_payload_type is not None:
        formats.append((agreement.event_payload_type, EVENT_NAME))
    return formats


def _known_formats(media: MediaDescription) -> Formats | None:
    """The first codec of this stream that we know, in the order of who wrote it, and its telephone-event."""
    if media.kind != "audio" or media.protocol != PROTOCOL or media.port == 0:
        return None
    encodings = {codec.payload_type: codec.name for codec in CODECS} | rtpmap(media)
    by_name = {f"{codec.name}/8000": codec for codec in CODECS} | {codec.name: codec for codec in CODECS}
    numbers = [int(f) for f in media.formats if f.isascii() and f.isdigit() and len(f) <= 3 and int(f) < 128]
    codecs = [(by_name[encodings[n]], n) for n in numbers if encodings.get(n) in by_name]
    events = (n for n in numbers if encodings.get(n, "").lower() == f"{EVENT_NAME}/8000")
    return (*codecs[0], next(events, None)) if codecs else None


def rtpmap(media: MediaDescription) -> dict[int, str]:
    """Payload type to `NAME/rate` (RFC 8866 section 6.6); one channel need not be said."""
    encodings = {}
    for value in media.values("rtpmap"):
        number, _, encoding = value.partition(" ")
        if number.isascii() and number.isdigit() and len(number) <= 3:
            encodings[int(number)] = encoding.strip().upper().removesuffix("/1")
    return encodings


def offered_host(description: bytes) -> str | None:
    """The address that an offer wants media sent to; None if it names none, or is no session description."""
    try:
        session = SessionDescription.decode(description)
    except MalformedSdp:
        return None
    named = [media.address if media.address is not None else session.address for media in session.media if media.port]
    address = unicast(named[0]) if named else None
    return None if address is None or address.is_unspecified else str(address)


def unicast(host: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in a c= line. A name would be a question to the DNS, a multicast address is no telephone."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None
    return None if address.is_multicast else address


def _ptime_ms(media: MediaDescription) -> int:
    """How much audio they want in a packet, if that is a multiple of 10 ms that we can serve (6.1)."""
    wishes = [int(value) for value in media.values("ptime") if value.isascii() and value.isdigit() and len(value) < 4]
    return next((wish for wish in wishes if wish in PTIMES_MS and wish % 10 == 0), PTIME_MS)


def direction_of(session: SessionDescription, media: MediaDescription) -> Direction:
    """The stream's own direction, else the session's, else both ways (RFC 8866 section 6.7)."""
    names = {direction.value: direction for direction in Direction}
    for attribute in (*media.attributes, *session.attributes):
        if attribute.name in names:
            return names[attribute.name]
    return Direction.SENDRECV


def _refused(media: MediaDescription) -> MediaDescription:
    """6: "To reject an offered stream, the port number [...] in the answer MUST be set to zero."."""
    return replace(media, port=0, address=None, attributes=())
