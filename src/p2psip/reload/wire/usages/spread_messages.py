"""How two nodes compare their copies of what every peer has: a private message of the name "spread".

Each value has a position, 64 bits of a hash of its place. A range of positions is named by the `depth` leading
hexadecimal digits that they share, those of `start`. docs/decisions/directory.md says how it goes on.
"""

from __future__ import annotations

from typing import Annotated

from p2psip.base.ids import ResourceId
from p2psip.reload.wire.common import KindId
from p2psip.reload.wire.language.codec import Prefixed, Select, Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Boolean, Opaque32, Uint8, Uint32, Uint64, WireEnum

SPREAD = b"spread"


class SpreadStep(WireEnum, width=1):
    """What is asked."""

    COMPARE = 1
    GIVE = 2


@structure
class RangeDigest(Struct):
    """What I have in a range: a digest of all its versions."""

    depth: Uint8
    start: Uint64
    digest: Uint64


@structure
class CompareReq(Struct):
    """Where does what you have differ from this?"""

    ranges: Annotated[tuple[RangeDigest, ...], Vector(2)]


@structure
class WantedValue(Struct):
    """The value at this position; `has_certificate` says that the one of its line is there already."""

    position: Uint64
    has_certificate: Boolean


@structure
class GiveReq(Struct):
    """Give me these values."""

    wanted: Annotated[tuple[WantedValue, ...], Vector(2)]


@structure
class SpreadReq(Struct):
    """One question of a comparison."""

    step: SpreadStep
    body: Annotated[
        CompareReq | GiveReq, Prefixed(2, Select("step", {SpreadStep.COMPARE: CompareReq, SpreadStep.GIVE: GiveReq}))
    ]


@structure
class ValueVersion(Struct):
    """Which version of a value there is: the later `storage_time` is newer, then the greater `tail` of its hash."""

    position: Uint64
    storage_time: Uint64
    tail: Uint32


@structure
class RangePart(Struct):
    """A range that differs: the digests of its sixteen parts, or if it is small all its versions."""

    depth: Uint8
    start: Uint64
    digests: Annotated[tuple[Uint64, ...], Vector(2)]
    versions: Annotated[tuple[ValueVersion, ...], Vector(2)]


@structure
class CompareAns(Struct):
    """Those of the ranges that differ."""

    parts: Annotated[tuple[RangePart, ...], Vector(2)]


@structure
class SpreadValue(Struct):
    """A stored value as it was signed, with what is left of its lifetime."""

    kind: KindId
    resource: ResourceId
    stored: Opaque32


@structure
class GiveAns(Struct):
    """As many of the wanted values as one message has room for; their certificates are in the message's own list."""

    values: Annotated[tuple[SpreadValue, ...], Vector(2)]
