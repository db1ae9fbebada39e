"""The value of the SIP-REGISTRATION Kind (RFC 7904 section 3.2)."""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.header import CompressedDestination, Destination, DestinationEntry
from p2psip.reload.wire.language.codec import Prefixed, Select, Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Opaque16, WireEnum


class SipRegistrationType(WireEnum, width=1, is_open=True):
    """Types of SipRegistration."""

    SIP_REGISTRATION_URI = 1
    SIP_REGISTRATION_ROUTE = 2


@structure
class SipRegistrationUri(Struct):
    """Another AoR to look up instead."""

    uri: Opaque16


@structure
class SipRegistrationRoute(Struct):
    """Where to connect to, and what the registrant can do (RFC 3840)."""

    contact_prefs: Opaque16
    destination_list: Annotated[tuple[DestinationEntry, ...], Vector(2, least=3)]


@structure
class SipRegistration(Struct):
    """A dictionary value under an AoR (section 3.2); "This type can be extended"."""

    type: SipRegistrationType
    data: Annotated[
        SipRegistrationUri | SipRegistrationRoute | bytes,
        Prefixed(
            2,
            Select(
                "type",
                {
                    SipRegistrationType.SIP_REGISTRATION_URI: SipRegistrationUri,
                    SipRegistrationType.SIP_REGISTRATION_ROUTE: SipRegistrationRoute,
                },
            ),
        ),
    ]

    @classmethod
    def uri(cls, uri: str) -> SipRegistration:
        """A mapping from one AoR to another."""
        return cls(SipRegistrationType.SIP_REGISTRATION_URI, SipRegistrationUri(uri.encode()))

    @classmethod
    def route(
        cls, destination_list: tuple[Destination | CompressedDestination, ...], contact_prefs: bytes = b""
    ) -> SipRegistration:
        """A mapping from an AoR to a destination list."""
        route = SipRegistrationRoute(contact_prefs, destination_list)
        return cls(SipRegistrationType.SIP_REGISTRATION_ROUTE, route)
