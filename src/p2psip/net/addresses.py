"""Addresses of this machine, and addresses as people type them."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.protocol import ENROLLMENT_PORT


def own_address() -> str:
    """The address from which this machine would talk to others; loopback if it has no network. Sends nothing."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return "127.0.0.1"


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
    """As it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
    return f"https://{join_host_port(host, port)}" if is_server else typed


def words(error: OSError) -> str:
    """What the system says is wrong; asyncio puts a sentence of its own in the place of it."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def taken(transport: str, address: object, error: OSError) -> LocalMisuse:
    """What to tell whoever wants to listen on an address that cannot be had."""
    hint = "; another program has it: stop that, or choose another port" if error.errno == errno.EADDRINUSE else ""
    return LocalMisuse(f"cannot listen on {transport} {address}: {words(error)}{hint}")
