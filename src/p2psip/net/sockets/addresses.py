"""Addresses of this machine, and addresses as people type them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from p2psip.base.address import Address, without_zone
from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.protocol import ENROLLMENT_PORT
from p2psip.net.sockets.interfaces import interface_addresses, interface_of, own_hosts, with_zone

ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
LOOPBACKS = {4: "127.0.0.1", 6: "::1"}


def machine_hosts() -> list[str]:
    """The addresses of this machine, loopback excepted: first those that lead out, last those of the link alone."""
    return own_hosts(interface_addresses(), _leading_out())


def usable_hosts(hosts: Sequence[str], versions: Collection[int] = (4, 6)) -> list[str]:
    """Those of `hosts` to tell others: link-local ones only where there are no others, loopback where there is nothing.

    To have no way to the Internet is not to have no network.
    """
    own = [host for host in hosts if ipaddress.ip_address(host).version in versions]
    reaching = [host for host in own if not ipaddress.ip_address(host).is_link_local]
    return reaching or own or [LOOPBACKS[version] for version in sorted(versions)[:1]]


def own_address() -> str:
    """The address by which others reach this machine most likely; loopback if it has no network. Sends nothing."""
    return usable_hosts(machine_hosts())[0]


def with_zones(host: str) -> list[str]:
    """What a host that another node named can be here: link-local, it may be on any link. Raises OSError."""
    if not ipaddress.ip_address(host).is_link_local or ":" not in host or "%" in host:
        return [host]
    zones = dict.fromkeys(own.partition("%")[2] for own in machine_hosts() if "%" in own)
    return [f"{host}%{zone}" for zone in zones] or [host]


def zoned(address: Address) -> tuple[Address, ...]:
    """The wire knows no zones: where a link-local address may be."""
    try:
        return tuple(Address(host, address.port) for host in with_zones(address.host))
    except OSError:
        # No file descriptor is left to ask by; then there is none to dial with either.
        return (address,)


def host_towards(remote: tuple[str, int]) -> str:
    """Our address as a remote sees it, on this machine's own word: no packet is sent. Raises OSError where no way is,
    UnicodeError or OverflowError where the address is none.
    """
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(sockaddr_of(remote))
        return address_of(probe.getsockname()).host


def address_of(sockaddr: tuple[Any, ...]) -> Address:
    """What a socket says of an address, with the zone where it is link-local."""
    host, port, *rest = sockaddr
    return Address(with_zone(host, rest[1]) if rest else host, port)


def sockaddr_of(address: tuple[str, int]) -> tuple[Any, ...]:
    """The same as a socket takes it. Raises OSError if there is no interface of the zone's name."""
    host, port = address
    return (without_zone(host), port, 0, interface_of(host)) if "%" in host else (host, port)


def _leading_out() -> list[str]:
    """From where this machine would talk to somebody far away: nothing, where no route leads there."""
    found: list[str] = []
    for family, elsewhere in ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(probe.getsockname()[0])
    return found


def split_host_port(text: str, default_port: int) -> tuple[str, int]:
    """HOST, HOST:PORT, [V6], [V6]:PORT or a bare IPv6 address; LocalMisuse if it is none of them."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise LocalMisuse(f"{text!r}: write HOST:PORT, an IPv6 address in brackets")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and int(port) <= 65535)):
        raise LocalMisuse(f"{text!r}: write HOST:PORT, with a port from 0 to 65535")
    return host, int(port) if port else default_port


def ip_port(text: str, default_port: int) -> tuple[str, int]:
    """The same, where only an IP address will do and the port is not 0."""
    host, port = split_host_port(text, default_port)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise LocalMisuse(f"{text!r}: give the IP address, not a name") from None
    if port == 0:
        raise LocalMisuse(f"{text!r}: give a port from 1 to 65535")
    return str(address), port


def join_host_port(host: str, port: int) -> str:
    """As it stands in a URL for others."""
    host = without_zone(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bracketed(host: str) -> str:
    """A host as it is typed where a port may follow."""
    return f"[{host}]" if ":" in host else host


def server_url(typed: str) -> str:
    """The URL of a server that is given as ADDRESS, ADDRESS:PORT or NAME:PORT; anything else, and a file, as it is."""
    if "://" in typed or Path(typed).exists():
        return typed
    try:
        host, port = split_host_port(typed.rstrip("/"), ENROLLMENT_PORT)
        ipaddress.ip_address(host)
    except LocalMisuse:
        return typed
    except ValueError:
        is_server = ":" in typed
    else:
        is_server = True
    return f"https://{Address(host, port)}" if is_server else typed


def words(error: Exception) -> str:
    """What the system says is wrong; asyncio puts a sentence of its own in the place of it."""
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class PortTaken(LocalMisuse):
    """Another program has a port that is wanted."""

    def __init__(self, what: str, port: int) -> None:
        super().__init__(what)
        self.port = port


def taken(transport: str, address: Address | str, error: Exception) -> LocalMisuse:
    """What to tell whoever wants to listen on an address that cannot be had."""
    what = f"cannot listen on {transport} {address}: {words(error)}"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        port = address.port if isinstance(address, Address) else 0
        return PortTaken(f"{what}; another program has it: stop that, or choose another port", port)
    return LocalMisuse(what)
