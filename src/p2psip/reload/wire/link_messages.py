"""Messages of forwarding and link management (RFC 6940 section 6.5) and Probe (section 6.4.2.5)."""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.language.codec import Prefixed, Select, Struct, Vector, When, structure
from p2psip.reload.wire.language.primitives import (
    Boolean,
    Hex64,
    Opaque8,
    Opaque16,
    Opaque24,
    Uint16,
    Uint32,
    Uint64,
    WireEnum,
)


class OverlayLinkType(WireEnum, width=1, is_open=True):
    """Overlay link types (section 14.10)."""

    DTLS_UDP_SR = 1, "DTLS-UDP-SR"
    DTLS_UDP_SR_NO_ICE = 3, "DTLS-UDP-SR-NO-ICE"
    TLS_TCP_FH_NO_ICE = 4, "TLS-TCP-FH-NO-ICE"
    EXP_LINK = 5, "EXP-LINK"
    TLS_TCP_FH = 0xF4, "TLS-TCP-FH"
    """Ours: TLS over TCP beside what ICE checks (docs/decisions/tcp-beside-ice.md). The registry has no private range,
    and of EXP-LINK says "it MUST NOT be used for operational deployments"; who does not know this one does without.
    """

    @property
    def without_ice(self) -> OverlayLinkType:
        """What runs over the same sockets without ICE."""
        return _WITHOUT_ICE.get(self, self)


_WITHOUT_ICE = {
    OverlayLinkType.DTLS_UDP_SR: OverlayLinkType.DTLS_UDP_SR_NO_ICE,
    OverlayLinkType.TLS_TCP_FH: OverlayLinkType.TLS_TCP_FH_NO_ICE,
}

NO_ICE = (OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE)
"""Those that "specify \"No-ICE\" in their description" (section 6.5.1.1)."""


class CandType(WireEnum, width=1):
    """Types of ICE candidates (section 6.5.1.1)."""

    HOST = 1
    SRFLX = 2
    RELAY = 4


@structure
class IceExtension(Struct):
    """An extension attribute of a candidate (section 6.5.1.1)."""

    name: Opaque16
    value: Opaque16


@structure
class IceCandidate(Struct):
    """A candidate, "a direct translation of the information from the ICE string structures" (section 6.5.1.1)."""

    addr_port: IpAddressPort
    overlay_link: OverlayLinkType
    foundation: Opaque8
    priority: Uint32
    type: CandType
    rel_addr_port: Annotated[IpAddressPort | None, When("type", CandType.SRFLX, CandType.RELAY)] = None
    extensions: Annotated[tuple[IceExtension, ...], Vector(2)] = ()


@structure
class AttachReqAns(Struct):
    """Body of Attach, request and answer alike (section 6.5.1.1)."""

    ufrag: Opaque8
    password: Opaque8
    role: Opaque8
    candidates: Annotated[tuple[IceCandidate, ...], Vector(2)]
    send_update: Boolean


@structure
class AppAttachReq(Struct):
    """Body of an AppAttach request (section 6.5.2.1)."""

    ufrag: Opaque8
    password: Opaque8
    application: Uint16
    role: Opaque8
    candidates: Annotated[tuple[IceCandidate, ...], Vector(2)]


@structure
class AppAttachAns(Struct):
    """Body of an AppAttach answer (section 6.5.2.2)."""

    ufrag: Opaque8
    password: Opaque8
    application: Uint16
    role: Opaque8
    candidates: Annotated[tuple[IceCandidate, ...], Vector(2)]


@structure
class PingReq(Struct):
    """Body of a Ping request (section 6.5.3.1)."""

    padding: Opaque16 = b""


@structure
class PingAns(Struct):
    """Body of a Ping answer (section 6.5.3.2); `time` is in milliseconds since 1970, as storage_time is."""

    response_id: Hex64
    time: Uint64


class ConfigUpdateType(WireEnum, width=1, is_open=True):
    """Types of ConfigUpdateReq."""

    CONFIG = 1
    KIND = 2


KindDescription = Opaque16


@structure
class ConfigUpdateReq(Struct):
    """Body of a ConfigUpdate request (section 6.5.4.1): `data` is config_data (bytes) or kinds (a tuple of bytes).

    Both lengths are on the wire: that of the rest of the message, and inside it that of the arm.
    """

    type: ConfigUpdateType
    data: Annotated[
        bytes | tuple[bytes, ...],
        Prefixed(
            4,
            Select(
                "type",
                {
                    ConfigUpdateType.CONFIG: Opaque24,
                    ConfigUpdateType.KIND: Annotated[tuple[KindDescription, ...], Vector(3)],
                },
            ),
        ),
    ]

    @classmethod
    def config(cls, config_data: bytes) -> ConfigUpdateReq:
        """A configuration document."""
        return cls(ConfigUpdateType.CONFIG, config_data)

    @classmethod
    def kind(cls, kinds: tuple[bytes, ...]) -> ConfigUpdateReq:
        """Signed kind-blocks."""
        return cls(ConfigUpdateType.KIND, kinds)

    @property
    def config_data(self) -> bytes | None:
        """The configuration document, if there is one."""
        is_config = self.type == ConfigUpdateType.CONFIG
        return self.data if is_config and isinstance(self.data, bytes) else None

    @property
    def kinds(self) -> tuple[bytes, ...]:
        """The kind-blocks, if there are any."""
        return self.data if isinstance(self.data, tuple) else ()


@structure
class ConfigUpdateAns(Struct):
    """Body of a ConfigUpdate answer (section 6.5.4.2)."""


class ProbeInformationType(WireEnum, width=1, is_open=True):
    """What a Probe can ask for (section 14.13)."""

    RESPONSIBLE_SET = 1
    NUM_RESOURCES = 2
    UPTIME = 3
    EXP_PROBE = 4, "exp-probe"


@structure
class ProbeReq(Struct):
    """Body of a Probe request (section 6.4.2.5.1)."""

    requested_info: Annotated[tuple[ProbeInformationType, ...], Vector(1)]


@structure
class ProbeInformation(Struct):
    """One piece of status (section 6.4.2.5.2): parts per billion, a count, or seconds; bytes if unknown."""

    type: ProbeInformationType
    value: Annotated[
        int | bytes,
        Prefixed(
            1,
            Select(
                "type",
                {
                    ProbeInformationType.RESPONSIBLE_SET: Uint32,
                    ProbeInformationType.NUM_RESOURCES: Uint32,
                    ProbeInformationType.UPTIME: Uint32,
                },
            ),
        ),
    ]


@structure
class ProbeAns(Struct):
    """Body of a Probe answer (section 6.4.2.5.2)."""

    probe_info: Annotated[tuple[ProbeInformation, ...], Vector(2)]
