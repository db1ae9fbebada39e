"""Which ports the peers of one machine would both have."""

from __future__ import annotations

from collections.abc import Iterable

from p2psip.daemon.endpoints import WILDCARDS
from p2psip.daemon.state.settings import SETTINGS_FILE, PeerSettings
from p2psip.daemon.state.state import PeerState

ANYWHERE = tuple(WILDCARDS)


def port_clash(one: PeerState, other: PeerState) -> str:
    """What is wrong, in one line that says what to do; "" if nothing is."""
    taken = _ports(one.settings)
    for port, (setting, hosts) in _ports(other.settings).items():
        if port in taken and _meet(hosts, taken[port][1]):
            where, there = other.directory / SETTINGS_FILE, one.directory / SETTINGS_FILE
            return f"{where}: {setting} has port {port}, as {taken[port][0]} in {there}: each peer has ports of its own"
    return ""


def _ports(settings: PeerSettings) -> dict[int, tuple[str, tuple[str, ...]]]:
    """By port the setting that it is of, and the addresses at which it is to be open."""
    of_phones = {
        "phone_port": settings.phone_port if settings.phone_udp or settings.phone_tcp else 0,
        "phone_tls": settings.phone_tls_port if settings.phone_tls else 0,
        "phone_ws": settings.phone_ws_port if settings.phone_ws else 0,
        "phone_wss": settings.phone_wss_port if settings.phone_wss else 0,
        "directory_http_port": settings.directory_http_port,
        "directory_ldap_port": settings.directory_ldap_port,
    }
    of_peers = {"overlay_port": settings.overlay_port, "sip_port": settings.sip_port}
    # Of phones at whatever address: a Route with our port there, at an address of this machine, is our own (own.py).
    ports = {port: (setting, ANYWHERE) for setting, port in of_phones.items() if port}
    return ports | {port: (setting, settings.listen) for setting, port in of_peers.items()}


def _meet(some: Iterable[str], others: Iterable[str]) -> bool:
    """True if one address is in both, by itself or as any."""
    return any(
        one == other or ((":" in one) == (":" in other) and not WILDCARDS.keys().isdisjoint((one, other)))
        for one in some
        for other in others
    )
