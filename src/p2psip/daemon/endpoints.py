"""Where a peer listens, and by which addresses and names others know it."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from p2psip.base.address import Address
from p2psip.daemon.settings import PeerSettings
from p2psip.net.addresses import own_address
from p2psip.net.peer_host import Endpoints
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sip.transports.layer import Listener

SIOCGIFADDR = 0x8915
IPV6_TABLE = Path("/proc/net/if_inet6")
FLEETING = 0x01 | 0x20 | 0x40
"""Flags of an IPv6 address that is temporary, deprecated or not ours yet (linux/if_addr.h)."""

WILDCARDS = {"0.0.0.0": 4, "::": 6}
LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class ListenAddresses:
    """The listeners of a peer, wildcard addresses resolved to what others can use."""

    endpoints: Endpoints
    listeners: tuple[Listener, ...]
    advertised_overlay: tuple[Address, ...]
    advertised_sip: tuple[Address, ...]
    phone_hosts: tuple[str, ...]
    phone_port: int
    is_everywhere: bool
    """True if we listen on whatever address this machine has."""

    @classmethod
    def of(cls, settings: PeerSettings, link_types: Collection[OverlayLinkType]) -> ListenAddresses:
        """By the settings and what this machine has; for the links that the overlay and the settings permit."""
        told = settings.advertise or tuple(_resolved(settings.listen))
        phone_hosts = tuple(_resolved(settings.phone_listen))
        udp = _phones(settings) if settings.phone_udp else ()
        tcp = _phones(settings) if settings.phone_tcp else ()
        overlay = tuple(Address(host, settings.overlay_port) for host in _bindable(settings.listen))
        endpoints = Endpoints(
            overlay if OverlayLinkType.TLS_TCP_FH_NO_ICE in link_types else (),
            overlay if OverlayLinkType.DTLS_UDP_SR_NO_ICE in link_types else (),
            tuple(Address(host, settings.sip_port) for host in _bindable(settings.listen)),
            udp,
            tcp,
            phone_hosts[0] if phone_hosts else own_address(),
        )
        listeners = (*(_listener("UDP", local) for local in udp), *(_listener("TCP", local) for local in tcp))
        return cls(
            endpoints,
            listeners,
            tuple(Address(host, settings.overlay_port) for host in told),
            tuple(Address(host, settings.sip_port) for host in told),
            phone_hosts,
            settings.phone_port,
            any(host in WILDCARDS for host in (*settings.listen, *settings.phone_listen)),
        )

    @property
    def is_outdated(self) -> bool:
        """True if this machine leads out by an address by now that it did not have, where we listen on every one.

        What phones and other peers are told is then wrong: the machine started before its network, or moved.
        """
        if not self.is_everywhere:
            return False
        known = {*self.phone_hosts, *(address.host for address in self.advertised_overlay)}
        present = own_address()
        return present not in known and not _is_local_only(present)

    def facts(self) -> dict[str, object]:
        """For whoever waits for the peer to be ready."""
        return {
            "overlay": [str(address) for address in self.advertised_overlay],
            "phones": [str(Address(host, self.phone_port)) for host in self.phone_hosts],
        }


def own_names(settings: PeerSettings, overlay: str, addresses: ListenAddresses) -> frozenset[str]:
    """All that means the overlay as the domain of an AoR (design decision 7)."""
    host = socket.gethostname().lower().rstrip(".")
    short = host.partition(".")[0]
    names = {overlay, *settings.domains, host, short, f"{short}.local", "localhost", *addresses.phone_hosts}
    names |= {address.host for address in addresses.advertised_overlay}
    # A phone on this very machine.
    names |= {loopback for wildcard, loopback in LOOPBACKS.items() if wildcard in settings.phone_listen}
    return frozenset(name.lower() for name in names if name)


def local_addresses() -> list[str]:
    """The addresses of this machine's interfaces, those that lead out first; loopback and link-local excepted."""
    found = dict.fromkeys([own_address(), *_ipv4_addresses(), *_ipv6_addresses()])
    usable = [text for text in found if not _is_local_only(text)]
    return usable or ["127.0.0.1"]


def _resolved(hosts: Iterable[str]) -> list[str]:
    """A wildcard stands for the addresses of its family."""
    found: dict[str, None] = {}
    for host in hosts:
        version = WILDCARDS.get(host)
        if version is None:
            found[host] = None
        else:
            found |= dict.fromkeys(own for own in local_addresses() if ipaddress.ip_address(own).version == version)
    return list(found)


def _bindable(hosts: tuple[str, ...]) -> list[str]:
    """Every IPv6 address is none where this machine has no IPv6; what is named must be there."""
    return [host for host in hosts if host != "::" or _has_ipv6()]


def _phones(settings: PeerSettings) -> tuple[Address, ...]:
    return tuple(Address(host, settings.phone_port) for host in _bindable(settings.phone_listen))


def _listener(transport: str, local: Address) -> Listener:
    """A wildcard listener says of itself the address that leads out."""
    sent_by = None
    if local.host in WILDCARDS:
        own = _resolved([local.host])
        sent_by = Address(own[0], local.port) if own else None
    return Listener("UDP" if transport == "UDP" else "TCP", local, sent_by)


def _has_ipv6() -> bool:
    return socket.has_ipv6 and IPV6_TABLE.exists() and bool(IPV6_TABLE.read_text(encoding="ascii").strip())


def _ipv4_addresses() -> list[str]:
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                # An interface without an IPv4 address.
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _ipv6_addresses() -> list[str]:
    if not _has_ipv6():
        return []
    found: list[str] = []
    for line in IPV6_TABLE.read_text(encoding="ascii").splitlines():
        digits, _, _, _, flags, _ = line.split()
        if not int(flags, 16) & FLEETING:
            found.append(str(ipaddress.IPv6Address(bytes.fromhex(digits))))
    return found


def _is_local_only(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return address.is_loopback or address.is_link_local or address.is_unspecified
