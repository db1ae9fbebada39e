"""Who may write what where (RFC 6940 section 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.ids import ResourceId
from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.security.roles import Signer
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import DataValue, StoredData
from p2psip.reload.wire.usages.redir import RedirServiceProvider, Tree, tree_node_name

Hash = Callable[[bytes], ResourceId]
"""The hash function of the overlay, from Resource Names to Resource-IDs (section 10.2 in CHORD-RELOAD)."""


@dataclass(frozen=True, slots=True)
class WantedWrite:
    """A write that somebody wants to make: which Kind, where, under which key of a dictionary, what."""

    kind: Kind
    resource: ResourceId
    key: bytes
    value: DataValue


def user_match(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """7.3.1: "the signer's certificate has a user name which hashes [...] to the Resource-ID for the resource"."""
    return hash_name(signer.user.encode()) == write.resource


def node_match(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """7.3.2: "a specified Node-ID which hashes [...] to the Resource-ID", and as which the value is signed."""
    return hash_name(signer.node_id) == write.resource


def user_node_match(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """7.3.3: as USER-MATCH; "In addition, the dictionary key MUST be equal to the Node-ID in the certificate"."""
    return user_match(write, signer, hash_name) and write.key == signer.node_id


def node_multiple(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """7.3.4: "H(Node-ID || i) is equal to the Resource-ID for some small integer value of i".

    How i is written is left open; it is one byte in the one Kind that has it (section 9). That one counts from 1,
    which "some small integer value" does not say of others.
    """
    last = min(write.kind.max_node_multiple, 255)
    return any(hash_name(signer.node_id + bytes([i])) == write.resource for i in range(last + 1))


def node_id_match(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """RFC 7374 section 5: "signed with a key associated with a certificate whose Node-ID is equal to the dictionary
    key"; and "provided that exists=True", the value says that it belongs to this tree node, and it does.
    """
    if write.key != signer.node_id:
        return False
    if not write.value.exists:
        return True
    try:
        provider = RedirServiceProvider.decode(write.value.value, node_id_length=len(signer.node_id))
    except DecodeError:
        return False
    tree = Tree(write.kind.branching_factor)
    # "the Node-ID MUST belong to one of the intervals associated with the tree node"; "H(namespace,level,node) [...]
    # MUST be equal to the Resource-ID for the resource."
    return (
        tree.has_level(provider.level)
        and tree.node(provider.level, signer.node_id) == provider.node
        and hash_name(tree_node_name(provider.namespace, provider.level, provider.node)) == write.resource
    )


def mailbox_match(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """Our own (docs/decisions/mailboxes.md): the owner of a place, by USER-MATCH, writes and removes all that is there;
    anybody else what has a key that begins with the Node-ID as which it is signed.
    """
    return write.key.startswith(signer.node_id) or user_match(write, signer, hash_name)


Policy = Callable[[WantedWrite, Signer, Hash], bool]

POLICIES: Mapping[AccessControl, Policy] = {
    AccessControl.USER_MATCH: user_match,
    AccessControl.NODE_MATCH: node_match,
    AccessControl.USER_NODE_MATCH: user_node_match,
    AccessControl.NODE_MULTIPLE: node_multiple,
    AccessControl.NODE_ID_MATCH: node_id_match,
    AccessControl.MAILBOX_MATCH: mailbox_match,
}


class UsageRule(Protocol):
    """What a usage demands of the writes of a Kind of its own, beyond the access policy."""

    def permits(self, write: WantedWrite, signer: Signer) -> bool:
        """True if this signer may make this write."""
        ...

    def ends_ms(self, stored: StoredData, signer: Signer) -> int:
        """When a value is not to be believed any more (ms since 1970), whatever its lifetime says, which is not signed.

        7.4.1.3: "a window of vulnerability for replay attack still exists after the original lifetime has expired".
        """
        ...


def is_permitted(write: WantedWrite, signer: Signer, hash_name: Hash) -> bool:
    """True if the Kind's policy lets this signer write there; nobody under a policy that is not known here."""
    policy = POLICIES.get(write.kind.access_control)
    return policy is not None and policy(write, signer, hash_name)
