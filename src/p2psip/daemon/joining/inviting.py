"""Invitations, from the side of who invites: `p2psip invite`, on the machine that has the overlay's directory."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import socket
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from p2psip.base.address import without_zone
from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.invitations import Invitation, token_hash
from p2psip.enrollment.join_codes import FINGERPRINT_BYTES, TOKEN_BYTES, JoinCode, places_of
from p2psip.enrollment.protocol import ENROLLMENT_PORT
from p2psip.enrollment.user_names import full_name
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.sockets.addresses import machine_hosts, own_address
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.certificates import fingerprint

if TYPE_CHECKING:
    from p2psip.net.accounts.account_database import AccountDatabase

PROBE_S = 1.0


def invite(overlay: OverlayDirectory, invitation: Invitation, rng: random.Random) -> tuple[Invitation, JoinCode]:
    """Write an invitation down, and make its code, which nobody can make again. Raises LocalMisuse.

    Its inviter is a user name, or "" for the overlay's first administrator.
    """
    configuration = overlay.document().configuration
    root = _trust_anchor(overlay, configuration)
    token = rng.randbytes(TOKEN_BYTES)
    accounts = overlay.accounts()
    try:
        inviter = _inviter(accounts, invitation.inviter, configuration.instance_name)
        written = accounts.invite(replace(invitation, inviter=inviter), token_hash(token))
    finally:
        accounts.close()
    code = JoinCode(
        configuration.instance_name,
        bytes.fromhex(fingerprint(root))[:FINGERPRINT_BYTES],
        token,
        places_of(_servers(configuration), ((node.address, node.port) for node in configuration.bootstrap_nodes)),
        invitation.admits_machine,
        invitation.user.partition("@")[0],
    )
    return written, code


def is_enrolling(code: JoinCode) -> bool:
    """True if somebody listens where a code leads to: who joins before would find nobody."""
    for place in code.places:
        if place.enrollment_port:
            with contextlib.suppress(OSError):
                socket.create_connection((place.host, place.enrollment_port), PROBE_S).close()
                return True
    return False


def _trust_anchor(overlay: OverlayDirectory, configuration: OverlayConfiguration) -> bytes:
    """The one of the directory, or, where that has an authority below it, the one of the configuration."""
    anchor = overlay.anchor()
    return configuration.root_certs[0] if anchor.is_delegated else anchor.der


def _inviter(accounts: AccountDatabase, name: str, overlay: str) -> str:
    if not name:
        return accounts.administrator()
    user = full_name(name, overlay)
    if accounts.account(user) is None:
        raise LocalMisuse(f"there is no account {user} that could invite: `p2psip user list` lists them")
    return user


def _servers(configuration: OverlayConfiguration) -> list[tuple[str, int]]:
    """Where members are enrolled, as the configuration says; and this machine, if it has another address now."""
    found = [(str(parts.hostname), parts.port or 443) for parts in map(urlsplit, configuration.enrollment_servers)]
    here = {without_zone(host) for host in machine_hosts()}
    if not any(host in here or _is_loopback(host) for host, _ in found):
        found.append((without_zone(own_address()), found[0][1] if found else ENROLLMENT_PORT))
    return found


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
