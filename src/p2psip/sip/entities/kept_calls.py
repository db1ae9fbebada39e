"""What a server keeps over a restart: the registrations of phones, and the calls that they have."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from p2psip.base.errors import LocalMisuse


class KeptEnd(msgspec.Struct, array_like=True):
    """One end of a call: header values as they are written, in bytes, since a name may be in any encoding."""

    name: bytes
    contact: bytes
    routes: list[bytes]
    is_here: bool
    cseq: int


class KeptCall(msgspec.Struct):
    """A call of a phone of this peer."""

    call_id: bytes
    ends: tuple[KeptEnd, KeptEnd]


class _Kept(msgspec.Struct):
    phones: msgspec.Raw
    calls: list[KeptCall] = msgspec.field(default_factory=list)


def pack(phones: bytes, calls: Sequence[KeptCall]) -> bytes:
    """Both; `phones` is JSON."""
    return msgspec.json.encode(_Kept(msgspec.Raw(phones), list(calls)))


def unpack(snapshot: bytes) -> tuple[bytes, list[KeptCall]]:
    """What was packed. Raises LocalMisuse if it is damaged."""
    if snapshot.startswith(b"["):
        # Of a release that kept registrations alone.
        return snapshot, []
    try:
        kept = msgspec.json.decode(snapshot, type=_Kept)
    except msgspec.DecodeError as error:
        raise LocalMisuse(f"the saved registrations are damaged ({error}); delete them") from None
    return bytes(kept.phones), kept.calls
