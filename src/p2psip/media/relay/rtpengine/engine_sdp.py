"""What an engine is told of a phone, and what it says: descriptions of which nobody else sees anything.

The phones' own stay with the relay (description.py). An engine is told where packets come from and go to, and of their
numbers; not what codecs or keys those are, so that it passes all on as it comes, SRTP as well. And whatever a phone
writes, it is short.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.media.negotiation import Address, unicast
from p2psip.media.relay.description import Carriage, MediaLine
from p2psip.media.sdp import Attribute, MalformedSdp, MediaDescription, Origin, SessionDescription

NOWHERE = 9
"""The discard port: where a phone does not say where it wants packets, none are to be sent."""

FORMATS_MAX = 32


def told(lines: Sequence[MediaLine], host: str) -> str:
    """A phone at this host, its own, wants the packets of these streams so."""
    media = tuple([_told(each, host) for each in lines])
    return SessionDescription(Origin(1, 1, host), media, host).encode().decode()


def named(text: str) -> tuple[Address, ...]:
    """Where the other phone is to send the packets of each stream. Raises MalformedSdp."""
    session = SessionDescription.decode(text.encode(errors="surrogateescape"))
    addresses = []
    for media in session.media:
        host = unicast(media.address or session.address)
        if host is None or host.is_unspecified or media.port == 0:
            raise MalformedSdp("it names no address for a stream")
        addresses.append((str(host), media.port))
    return tuple(addresses)


def _told(line: MediaLine, host: str) -> MediaDescription:
    # What a phone names that is not its own would have us send to others: if it is there all the same, the engine
    # goes where its packets come from.
    port = line.rtp[1] if line.rtp is not None else NOWHERE
    attributes = [Attribute("inactive" if line.is_refused else line.direction.value)]
    if line.carriage is not Carriage.RTP:
        return MediaDescription("image", port, "udptl", ("t38",), None, tuple(attributes))
    if line.rtcp is not None:
        attributes.append(Attribute("rtcp", str(line.rtcp[1])))
    formats = tuple([each for each in line.formats if _is_payload_type(each)][:FORMATS_MAX]) or ("0",)
    attributes += [
        Attribute("rtpmap", f"{number} as-it-comes-{number}/{rate}")
        for number, rate in line.rates.items()
        if str(number) in formats
    ]
    kind = "video" if line.kind == "video" else "audio"
    return MediaDescription(kind, port, "RTP/AVP", formats, None, tuple(attributes))


def _is_payload_type(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3
