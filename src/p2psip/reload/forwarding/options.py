"""Forwarding options that this implementation understands (RFC 6940 section 6.3.2.3).

RFC 6940 itself defines none; RFC 7263 has one (routing_modes.py). A type that is entered here is read by whom it
concerns, from the header of the message; all other types are passed on untouched, or rejected where their sender marked
them as critical.
"""

from __future__ import annotations

from typing import Final

from p2psip.reload.wire.header import ForwardingHeader, ForwardingOptionFlags, ForwardingOptionType

UNDERSTOOD: Final[frozenset[ForwardingOptionType]] = frozenset({ForwardingOptionType.EXTENSIVE_ROUTING_MODE})

ALL_FLAGS: Final = (
    ForwardingOptionFlags.FORWARD_CRITICAL
    | ForwardingOptionFlags.DESTINATION_CRITICAL
    | ForwardingOptionFlags.RESPONSE_COPY
)


def beyond_us(
    header: ForwardingHeader,
    flag: ForwardingOptionFlags,
    understood: frozenset[ForwardingOptionType] = UNDERSTOOD,
) -> ForwardingOptionType | None:
    """The first option with this flag that is not understood."""
    return next(
        (option.type for option in header.options if option.flags & flag and option.type not in understood), None
    )
