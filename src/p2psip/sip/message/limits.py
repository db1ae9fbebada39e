"""The bounds on what a message may bring: one table."""

from __future__ import annotations

MESSAGE_BYTES = 65_535
"""A whole message, on any transport; a UDP datagram cannot be longer."""

HEAD_BYTES = 32_768
"""Start line and header fields together."""

FIELDS = 256
"""Header fields in a message; RFC 4475's longest has far fewer."""

VALUES = 128
"""Comma-separated values of one header field, all its lines together (Via, Route, Contact ...)."""

PARAMETERS = 64
"""Parameters of one value."""

MAX_FORWARDS = 70
"""The initial Max-Forwards (RFC 3261 section 8.1.1.6)."""

INTEGER_DIGITS = 10
"""No number of SIP needs more digits (2**32 - 1); longer ones are malformed (RFC 4475 section 3.1.2.4)."""
