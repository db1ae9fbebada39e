"""Message extensions that this implementation understands (RFC 6940 section 6.3.3).

RFC 6940 itself defines none; RFC 7851 has one, and one is our own. A type that is entered here is read by whoever
serves the request; others are ignored, or make the message one that we do not understand where their sender marked them
as critical.
"""

from __future__ import annotations

from typing import Final

from p2psip.reload.wire.contents import MessageContents, MessageExtensionType

UNDERSTOOD: Final[frozenset[MessageExtensionType]] = frozenset(
    {MessageExtensionType.DIAGNOSTIC_PING, MessageExtensionType.KEEPS_ALIVE}
)
"""RFC 7851 section 4.2.1; "Receivers who receive a method other than Ping including this extension MUST ignore" it."""


def beyond_us(contents: MessageContents) -> MessageExtensionType | None:
    """The first critical extension that is not understood."""
    return next((found.type for found in contents.extensions if found.critical and found.type not in UNDERSTOOD), None)
