"""The values of the three Kinds of mailboxes (docs/decisions/mailboxes.md). What is in MAIL_PART is sealed bytes."""

from __future__ import annotations

from typing import Annotated

from p2psip.base.ids import NodeId
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Opaque8, Opaque16, Uint8, Uint16, Uint32, Uint64, WireEnum


class MailType(WireEnum, width=1, is_open=True):
    """What waits."""

    VOICE = 1
    TEXT = 2
    MISSED_CALL = 3
    RECEIPT = 4
    """In the mailbox of who has left a text with somebody else: that it waits there."""


class MailState(WireEnum, width=1, is_open=True):
    """What has become of it."""

    BEING_LEFT = 0
    """Its place is taken; what is in it has not come yet."""

    NEW = 1
    HEARD = 2


@structure
class MailboxOpening(Struct):
    """A line takes messages, none longer than so many seconds; they are sealed to the key that signs this."""

    longest_s: Uint16


@structure
class SealedKey(Struct):
    """The key of one message, for one line of who it is for."""

    line: NodeId
    sealed: Opaque16


@structure
class MailHeader(Struct):
    """One message: who has left it (a user name), when (ms since 1970), how long it is and in how many parts, and who
    can read it.
    """

    type: MailType
    state: MailState
    by: Opaque8
    left_ms: Uint64
    size: Uint32
    parts: Uint8
    keys: Annotated[tuple[SealedKey, ...], Vector(2)]
    facts: Opaque16
    """MailFacts, sealed with the key of the message."""


@structure
class MailFacts(Struct):
    """Who has called, as his peer knows him: the user or number to call back, and a name; both in UTF-8."""

    caller: Opaque8
    name: Opaque8
