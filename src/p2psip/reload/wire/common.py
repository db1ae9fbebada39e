"""Common definitions (RFC 6940 section 6.3.1.1) and the TLS enums that RELOAD refers to (RFC 5246, 6091)."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from p2psip.reload.wire.language.codec import Prefixed, Select, Struct, structure
from p2psip.reload.wire.language.primitives import Hex32, Uint16, Uint128, WireEnum

KindId = Hex32


class HashAlgorithm(WireEnum, width=1, is_open=True):
    """IANA's TLS HashAlgorithm registry (RFC 5246 section 7.4.1.4.1, RFC 8422)."""

    NONE = 0
    MD5 = 1
    SHA1 = 2
    SHA224 = 3
    SHA256 = 4
    SHA384 = 5
    SHA512 = 6
    INTRINSIC = 8


class SignatureAlgorithm(WireEnum, width=1, is_open=True):
    """IANA's TLS SignatureAlgorithm registry (RFC 5246 section 7.4.1.4.1, RFC 8422)."""

    ANONYMOUS = 0
    RSA = 1
    DSA = 2
    ECDSA = 3
    ED25519 = 7
    ED448 = 8


class AddressType(WireEnum, width=1, is_open=True):
    """Types of IpAddressPort (section 6.3.1.1)."""

    IPV4_ADDRESS = 1
    IPV6_ADDRESS = 2


@structure
class IPv4AddrPort(Struct):
    """An IPv4 address and a port (section 6.3.1.1)."""

    addr: Hex32
    port: Uint16


@structure
class IPv6AddrPort(Struct):
    """An IPv6 address and a port (section 6.3.1.1)."""

    addr: Uint128
    port: Uint16


@structure
class IpAddressPort(Struct):
    """A network address (section 6.3.1.1). The bytes of an unknown type are kept."""

    type: AddressType
    addr_port: Annotated[
        IPv4AddrPort | IPv6AddrPort | bytes,
        Prefixed(1, Select("type", {AddressType.IPV4_ADDRESS: IPv4AddrPort, AddressType.IPV6_ADDRESS: IPv6AddrPort})),
    ]

    @classmethod
    def of(cls, host: str, port: int) -> IpAddressPort:
        """From an address in text and a port; ValueError if the text is no address."""
        address = ipaddress.ip_address(host)
        if address.version == 4:
            return cls(AddressType.IPV4_ADDRESS, IPv4AddrPort(int(address), port))
        return cls(AddressType.IPV6_ADDRESS, IPv6AddrPort(int(address), port))

    @property
    def host_port(self) -> tuple[str, int] | None:
        """The address in text and the port; None for an unknown type of address."""
        match self.addr_port:
            case IPv4AddrPort(addr, port):
                return str(ipaddress.IPv4Address(addr)), port
            case IPv6AddrPort(addr, port):
                return str(ipaddress.IPv6Address(addr)), port
        return None

    def summary(self) -> str | None:
        """host:port, with brackets around an IPv6 address."""
        match self.host_port:
            case None:
                return None
            case host, port:
                return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
