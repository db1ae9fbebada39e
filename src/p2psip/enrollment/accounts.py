"""Who may enroll, and which Node-IDs belong to whom: the enrollment server's memory, as a Protocol.

Node-IDs belong to a user *and public key*: renewal for the same key keeps them ("if the same user returns [...], the
enrollment server should return the same Node-IDs", 11.3), a new key gets new ones up to the account's quota.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from p2psip.base.errors import P2psipError
from p2psip.base.ids import NodeId

QUOTA = 16
"""Node-IDs that an account may hold in valid certificates: its lines and its peers."""

QUOTA_ADMIN = 64
"""Of administrators, who set up peers for others."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a password, or whom an invitation has admitted. `name` is a user name in full."""

    name: str
    password_hash: str = field(repr=False)
    """"" as long as there is none: nothing but an invitation gets it certificates."""
    is_admin: bool = False
    quota: int = QUOTA
    created: float = 0.0
    """Seconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A certificate: for which user name and key, on whose account, with which Node-IDs, until when."""

    account: str
    user: str
    key_hash: bytes
    node_ids: tuple[NodeId, ...]
    certificate: bytes = field(repr=False)
    not_after: float
    issued: float = 0.0
    """When; both in seconds since 1970-01-01 UTC."""
    request: bytes = field(default=b"", repr=False)
    """The CSR in DER, where the certificate is to be made elsewhere: then that is b""."""
    source: str = ""
    """Where it was asked for, for the audit log."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account holds for one user name and key."""

    account: str
    user: str
    node_ids: tuple[NodeId, ...]
    certificate: bytes = field(default=b"", repr=False, compare=False)
    """The newest one; b"" as long as none is signed."""


class StoreFailed(P2psipError):
    """The store cannot be read or written now: a full disk, a lock that somebody keeps."""


@dataclass(frozen=True, slots=True)
class HeldNode:
    """A Node-ID that an account holds: as whom, until when its certificate is valid, and whether it is revoked."""

    user: str
    node_id: NodeId
    not_after: float
    is_revoked: bool = False


class AccountStore(Protocol):
    """Accounts and what was issued to them. What has been recorded when a call returns is durable.

    Every call may raise StoreFailed. Several servers may have one store, and write at the same time.
    """

    def account(self, name: str) -> Account | None:
        """The account with this user name."""
        ...

    def owner(self, user: str) -> str | None:
        """The account that a user name belongs to, once a certificate was issued for it."""
        ...

    def holding(self, user: str, key_hash: bytes) -> Holding | None:
        """What was issued for this user name and key; its Node-IDs without those that are revoked."""
        ...

    def held_otherwise(self, account: str, user: str, key_hash: bytes, date: float) -> int:
        """How many Node-IDs the account holds in certificates valid at `date`, this user name and key not counted.

        Nor does what is revoked count.
        """
        ...

    def record(self, issue: Issue) -> bool:
        """Remember a certificate before it is handed out; False if it is no longer to be had.

        Because its account has gone, its names are another's, its Node-IDs are not those that this user name and key
        have got first, or there is no room for them any more.
        """
        ...
