"""What can be wrong with an Overlay Configuration Document."""

from __future__ import annotations

from p2psip.base.errors import RemoteProtocolError


class ConfigurationError(RemoteProtocolError):
    """Not a well-formed, valid and duly signed Overlay Configuration Document (RFC 6940 section 11.1)."""


class OtherOverlay(ConfigurationError):
    """A document that has no configuration of the overlay in question."""
