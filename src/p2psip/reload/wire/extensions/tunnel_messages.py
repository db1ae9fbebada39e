"""Messages of a tunnel: records of two nodes' applications inside overlay messages (docs/decisions/tunnel.md).

Each is the body of a private message (docs/decisions/private-messages.md), of that name.
"""

from __future__ import annotations

from typing import Annotated

from p2psip.base.ids import NodeId
from p2psip.reload.wire.language.codec import Select, Struct, structure
from p2psip.reload.wire.language.primitives import Hex64, Opaque8, Opaque16, Uint16, Uint32, WireEnum

TUNNEL = b"tunnel"
"""The name of these private messages."""


class TunnelStep(WireEnum, width=1, is_open=True):
    """What a request does with a tunnel."""

    OPEN = 1
    RECORD = 2
    CLOSE = 3


@structure
class TunnelOpening(Struct):
    """A tunnel is wanted: for which application (section 14.5), with whom, and the share of a key agreement."""

    application: Uint16
    responder: NodeId
    share: Opaque8


@structure
class TunnelRecord(Struct):
    """One record, encrypted; `sequence` counts those of one direction, from 0."""

    sequence: Uint32
    sealed: Opaque16


@structure
class TunnelClosing(Struct):
    """A tunnel is no more; why, for people."""

    reason: Opaque8


@structure
class TunnelMessage(Struct):
    """The body of a request. `tunnel` is chosen by who opens it, at random."""

    step: TunnelStep
    tunnel: Hex64
    data: Annotated[
        TunnelOpening | TunnelRecord | TunnelClosing | bytes,
        Select(
            "step",
            {
                TunnelStep.OPEN: TunnelOpening,
                TunnelStep.RECORD: TunnelRecord,
                TunnelStep.CLOSE: TunnelClosing,
            },
        ),
    ]


@structure
class TunnelAcceptance(Struct):
    """The body of the answer to an opening: the other share, and a hash over all that both ends have said."""

    share: Opaque8
    transcript: Opaque8
