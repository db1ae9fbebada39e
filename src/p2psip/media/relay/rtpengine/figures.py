"""What an engine has counted of a call, as it answers a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from p2psip.media.relay.rtpengine.bencode import Value


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one phone and one stream, RTP alone: what has come from there, and what the engine could not pass on."""

    packets: int = 0
    octets: int = 0
    errors: int = 0


def counted(fields: Mapping[str, Value]) -> dict[tuple[str, int], Counted]:
    """By tag and position of the stream in what the engine was told; what is not there, or no number, is nothing."""
    return {
        (tag, position): _stream(media)
        for tag, party in _pairs(fields.get("tags"))
        for position, media in enumerate(_list(dict(_pairs(party)).get("medias")))
    }


def _stream(media: Value) -> Counted:
    """The first of a media's streams is RTP, the second RTCP."""
    streams = _list(dict(_pairs(media)).get("streams"))
    stats = dict(_pairs(dict(_pairs(streams[0])).get("stats"))) if streams else {}
    return Counted(*(_count(stats.get(name)) for name in ("packets", "bytes", "errors")))


def _pairs(value: Value | None) -> Iterator[tuple[str, Value]]:
    return iter(value.items() if isinstance(value, dict) else ())


def _list(value: Value | None) -> list[Value]:
    return value if isinstance(value, list) else []


def _count(value: Value | None) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
