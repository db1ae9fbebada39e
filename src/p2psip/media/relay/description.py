"""Session descriptions on their way through a relay: what one says of a phone's ports, and the same with ours in it.

All that is not about where packets go stays as the phone has written it, what is unknown here too. ICE goes (RFC 8445):
a relay is one address, and who finds no candidates sends to the address in c= and m= (RFC 8839 section 5.3).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from p2psip.media.negotiation import Address, Direction, direction_of, rtpmap, unicast
from p2psip.media.relay.multiplex import NUMBER_MAX
from p2psip.media.sdp import (
    Line,
    MalformedSdp,
    MediaDescription,
    SessionDescription,
    joined,
    network,
    sections_of,
)

NUMBER = "p2psip-stream"
"""The attribute by which a peer tells another one the number of a stream (docs/decisions/media.md)."""

_OF_ICE = frozenset(
    {"candidate", "remote-candidates", "end-of-candidates", "ice-ufrag", "ice-pwd", "ice-options", "ice-lite"}
    | {"ice-mismatch", "ice-pacing"}
)
_OF_PORTS = frozenset({"rtcp", "bundle-only"})
_RTP = ("RTP/", "UDP/TLS/RTP/")
_OF_BROWSERS = "UDP/TLS/RTP/SAVPF"
"""RFC 8829 section 5.1.2: what they offer, and answer, for audio and video."""


class Carriage(enum.Enum):
    """What a stream's datagrams are."""

    RTP = "RTP"
    PLAIN = "datagrams"
    """T.38 (RFC 7345): fax, in datagrams of its own."""
    UNKNOWN = "unknown"
    """Nothing that a relay can carry, as what runs over TCP."""


@dataclass(frozen=True, slots=True)
class MediaLine:
    """One m= line: where its phone wants packets, and which.

    `rtp` and `rtcp` are None where it names no address that can be sent to. `is_refused` is port 0: there is no such
    stream; `is_held` the address 0.0.0.0: nothing is to be sent, while the call is on hold. `number` is that of the
    stream on the path from which the description came, None if it names none.
    """

    kind: str
    carriage: Carriage
    is_refused: bool
    is_held: bool
    rtp: Address | None
    rtcp: Address | None
    direction: Direction
    formats: tuple[str, ...]
    rates: Mapping[int, int]
    number: int | None


class At(NamedTuple):
    """Packets of this m= line go to us: to `port` for RTP, and the one after it for RTCP."""

    host: str
    port: int


class Tagged(NamedTuple):
    """They go as the phone has said, or over the path under this number."""

    number: int


class Refuse(NamedTuple):
    """RFC 3264 section 6: port 0."""


class Keep(NamedTuple):
    """As the phone has said."""


Change: TypeAlias = At | Tagged | Refuse | Keep


def read(body: bytes) -> tuple[MediaLine, ...]:
    """What a description says of each of its m= lines. Raises MalformedSdp."""
    session = SessionDescription.decode(body)
    return tuple([_described(session, media) for media in session.media])


def is_of_browser(body: bytes) -> bool:
    """True for what a web browser says (RFC 8829), which takes media by ICE alone, from the end that it agreed with."""
    if b"ice-ufrag" not in body:
        return False
    try:
        session = SessionDescription.decode(body)
    except MalformedSdp:
        return False
    shared = {attribute.name for attribute in session.attributes}
    return any(
        media.protocol.upper() == _OF_BROWSERS and ("ice-ufrag" in shared or media.values("ice-ufrag"))
        for media in session.media
    )


def write(body: bytes, changes: Sequence[Change]) -> bytes:
    """The description with each of its m= lines changed so. Raises MalformedSdp."""
    session, *media = sections_of(body)
    assert len(media) == len(changes), "one change for each m= line"
    ours = next((change.host for change in changes if isinstance(change, At)), None)
    if ours is None:
        written = [_with_changes(section, change, None) for section, change in zip(media, changes, strict=True)]
        return joined(f"{kind}={value}" for section in (session, *written) for kind, value in section)
    # Each m= line has its own c= from here on: the session's is now ours, or says that all are on hold.
    shared = _connection_line(session)
    written = [_with_changes(section, change, shared) for section, change in zip(media, changes, strict=True)]
    lines = [_from_here(line, ours) for line in session if not _is_of_ice_or_bundle(line)]
    if shared is not None and not _is_unspecified(shared):
        lines = [("c", network(ours)) if line[0] == "c" else line for line in lines]
    return joined(f"{kind}={value}" for section in (lines, *written) for kind, value in section)


def _described(session: SessionDescription, media: MediaDescription) -> MediaLine:
    host = unicast(media.address if media.address is not None else session.address)
    is_named = host is not None and not host.is_unspecified and media.port != 0
    rtp = (str(host), media.port) if is_named else None
    direction = direction_of(session, media)
    if is_held := host is not None and host.is_unspecified:
        # RFC 3264 8.4: "it means that neither RTP nor RTCP should be sent to the peer".
        direction = Direction.of(sends=direction.sends, receives=False)
    return MediaLine(
        media.kind,
        _carriage(media),
        media.port == 0,
        is_held,
        rtp,
        None if rtp is None else _rtcp(media, rtp),
        direction,
        media.formats,
        _rates(media),
        _number(media),
    )


def _carriage(media: MediaDescription) -> Carriage:
    protocol = media.protocol.upper()
    if protocol.startswith(_RTP):
        return Carriage.RTP
    return Carriage.PLAIN if protocol == "UDPTL" else Carriage.UNKNOWN


def _rtcp(media: MediaDescription, rtp: Address) -> Address | None:
    """RFC 3605: "a=rtcp:53020 IN IP4 126.16.64.4", the address only where it is another one."""
    words = next(iter(media.values("rtcp")), "").split()
    if words and words[0].isascii() and words[0].isdigit() and 0 < int(words[0][:6]) < 1 << 16:
        host = unicast(words[3]) if len(words) == 4 else None
        return (rtp[0] if host is None or host.is_unspecified else str(host), int(words[0]))
    return (rtp[0], rtp[1] + 1) if rtp[1] + 1 < 1 << 16 else None


def _rates(media: MediaDescription) -> dict[int, int]:
    rates = {}
    for number, encoding in rtpmap(media).items():
        rate = encoding.split("/")[1:2]
        if rate and rate[0].isascii() and rate[0].isdigit() and 0 < int(rate[0][:10]) < 1 << 32:
            rates[number] = int(rate[0][:10])
    return rates


def _number(media: MediaDescription) -> int | None:
    value = next(iter(media.values(NUMBER)), "")
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= NUMBER_MAX):
        return None
    return int(value)


def _with_changes(section: Sequence[Line], change: Change, shared: Line | None) -> list[Line]:
    """One m= line and what follows; `shared` is the session's c=, where that will not hold for it any more."""
    (_, media), *rest = section
    rest = [line for line in rest if _attribute(line) != NUMBER]
    named = _connection_line(rest) or shared
    match change:
        case At(host, port):
            rest = [line for line in rest if line[0] != "c" and not _is_gone(line)]
            is_held = named is not None and _is_unspecified(named)
            return [("m", _with_port(media, port)), *_with_connection(rest, named if is_held else ("c", network(host)))]
        case Refuse():
            # RFC 3264 section 6: "the port number in the corresponding stream in the answer MUST be set to zero".
            return [("m", _with_port(media, 0)), *rest]
        case Tagged(number):
            rest = [*rest, ("a", f"{NUMBER}:{number}")]
    return [("m", media), *(_with_connection(rest, shared) if _connection_line(rest) is None else rest)]


def _from_here(line: Line, host: str) -> Line:
    """RFC 8866 section 5.2: o= has an address, too, and some phones take their IP version from there."""
    if line[0] != "o":
        return line
    return ("o", " ".join([*line[1].split()[:3], network(host)]))


def _with_connection(lines: Sequence[Line], connection: Line | None) -> Iterator[Line]:
    """RFC 8866 section 5: c= comes after i=, and before b=, k= and a=."""
    titles = [line for line in lines if line[0] == "i"]
    yield from titles
    if connection is not None:
        yield connection
    yield from (line for line in lines if line[0] != "i")


def _with_port(media: str, port: int) -> str:
    """An m= line with one port."""
    kind, _, *rest = media.split()
    return " ".join([kind, str(port), *rest])


def _is_gone(line: Line) -> bool:
    return _attribute(line) in _OF_PORTS or _is_of_ice_or_bundle(line)


def _is_of_ice_or_bundle(line: Line) -> bool:
    # A bundle (RFC 9143) is several m= lines at one port; here each has its own.
    return _attribute(line) in _OF_ICE or (line[0] == "a" and line[1].upper().startswith("GROUP:BUNDLE"))


def _attribute(line: Line) -> str:
    return line[1].partition(":")[0].strip().lower() if line[0] == "a" else ""


def _connection_line(section: Sequence[Line]) -> Line | None:
    return next((line for line in section if line[0] == "c"), None)


def _is_unspecified(line: Line) -> bool:
    words = line[1].split()
    host = unicast(words[2].partition("/")[0]) if len(words) == 3 else None
    return host is not None and host.is_unspecified
