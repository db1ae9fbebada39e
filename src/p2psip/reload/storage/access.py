"""Who may write what where (RFC 6940 section 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.ids import ResourceId
from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.security.roles import Signer

Hash = Callable[[bytes], ResourceId]
"""The hash function of the overlay, from Resource Names to Resource-IDs (section 10.2 in CHORD-RELOAD)."""


class NameRule(Protocol):
    """What a usage demands of the user names under which a Kind of its own is stored."""

    def permits(self, user: str) -> bool:
        """True if values may be stored for this user."""
        ...


@dataclass(frozen=True, slots=True)
class Write:
    """A write that somebody wants to make: which Kind, where, under which key of a dictionary."""

    kind: Kind
    resource: ResourceId
    key: bytes


def user_match(write: Write, signer: Signer, hash_name: Hash) -> bool:
    """7.3.1: "the signer's certificate has a user name which hashes [...] to the Resource-ID for the resource"."""
    return hash_name(signer.user.encode()) == write.resource


def node_match(write: Write, signer: Signer, hash_name: Hash) -> bool:
    """7.3.2: "a specified Node-ID which hashes [...] to the Resource-ID", and as which the value is signed."""
    return hash_name(signer.node_id) == write.resource


def user_node_match(write: Write, signer: Signer, hash_name: Hash) -> bool:
    """7.3.3: as USER-MATCH; "In addition, the dictionary key MUST be equal to the Node-ID in the certificate"."""
    return user_match(write, signer, hash_name) and write.key == signer.node_id


def node_multiple(write: Write, signer: Signer, hash_name: Hash) -> bool:
    """7.3.4: "H(Node-ID || i) is equal to the Resource-ID for some small integer value of i".

    How i is written is left open; it is one byte in the one Kind that has it (section 9). That one counts from 1,
    which "some small integer value" does not say of others.
    """
    last = min(write.kind.max_node_multiple, 255)
    return any(hash_name(signer.node_id + bytes([i])) == write.resource for i in range(last + 1))


Policy = Callable[[Write, Signer, Hash], bool]

POLICIES: Mapping[AccessControl, Policy] = {
    AccessControl.USER_MATCH: user_match,
    AccessControl.NODE_MATCH: node_match,
    AccessControl.USER_NODE_MATCH: user_node_match,
    AccessControl.NODE_MULTIPLE: node_multiple,
}


def is_permitted(write: Write, signer: Signer, hash_name: Hash) -> bool:
    """True if the Kind's policy lets this signer write there; nobody under a policy that is not known here."""
    policy = POLICIES.get(write.kind.access_control)
    return policy is not None and policy(write, signer, hash_name)
