"""Messages of our own, which no RFC has: one pair of codes for all of them, told apart by a name.

A peer that does not know them answers with an error (RFC 6940 section 6.3.3.1), and so does one that knows the codes
and not the name; who asks has to do without (docs/decisions/private-messages.md).
"""

from __future__ import annotations

from p2psip.reload.wire.language.codec import Struct, structure
from p2psip.reload.wire.language.primitives import Opaque8, Opaque16


@structure
class PrivateReq(Struct):
    """A request: what it is about, and the rest as that has it."""

    name: Opaque8
    body: Opaque16


@structure
class PrivateAns(Struct):
    """The answer, as what was asked has it."""

    body: Opaque16
