"""How a user gets a line at a peer: key, certificate by the account's password, phone password."""

from __future__ import annotations

import random
from collections.abc import Sequence

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.user_keys import key_of
from p2psip.daemon.init import new_key, preferred_algorithm
from p2psip.daemon.state.line_files import LineFiles
from p2psip.daemon.state.state import PeerState
from p2psip.enrollment.client import self_enroll
from p2psip.enrollment.passwords import typed_passwords
from p2psip.enrollment.user_names import typed_names
from p2psip.net.https.client import enroll
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.sip.message.digest import logins


async def set_up_line(
    state: PeerState,
    aor: str,
    account_password: str | None,
    phone_password: str,
    *,
    invitation: bytes | None = None,
    servers: Sequence[str] = (),
) -> CertifiedIdentity:
    """Enroll a line of `aor`, with the token of an invitation at these `servers`, or with a password, and write its
    files; without either make its certificate.

    May be repeated: the key, and so the Node-ID, stays the same. Raises RequestFailed if the enrollment server refuses
    or cannot be reached.
    """
    overlay = state.configuration.instance_name
    files = LineFiles(state.directory, key_of(aor, overlay))
    key = files.key()
    if key is None:
        key = await new_key(preferred_algorithm(state.configuration))
        files.save_key(key)
    if invitation is not None:
        identity = await enroll(state.configuration, aor, key, invitation=invitation, other_servers=servers)
    elif account_password is None:
        identity = self_enroll(state.configuration, key, aor, random.SystemRandom())
    else:
        identity = await enroll(state.configuration, aor, key, account=aor, password=account_password)
    files.save(identity, logins(typed_names(aor), overlay, typed_passwords(phone_password)))
    return identity


async def renew_line(state: PeerState, name: str) -> CertifiedIdentity:
    """A new certificate for the same key and Node-ID; no password is needed. Raises LocalMisuse or RequestFailed."""
    files = LineFiles(state.directory, name)
    if not files.exists:
        raise LocalMisuse(f"{name} has no line here; `p2psip line list --peer {state.directory}` lists them")
    line = files.load(state.configuration)
    key = files.key()
    if key is None:
        raise RequestFailed(f"the key of {line.aor} is gone")
    identity = await enroll(state.configuration, line.aor, key)
    files.save_certificate(identity)
    return identity
