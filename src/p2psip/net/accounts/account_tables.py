"""The tables of an enrollment server's store; whoever changes them writes a migration too (`migrations/versions`)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

HEAD = "4"
"""The newest revision."""


class Words(TypeDecorator[str]):
    """Text that may have come from anybody: NUL, which PostgreSQL takes in no text, is another sign that nobody has."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What is written, and what is looked for."""
        return None if value is None else value.replace("\0", "\ufffd")


METADATA = MetaData()

ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Words, nullable=False, unique=True),
    Column("password_hash", Words, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("quota", Integer, nullable=False),
    Column("created", Double, nullable=False),
)
HOLDING = Table(
    "holding",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("account", Integer, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("user", Words, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    UniqueConstraint("user", "key_hash"),
    Index("holding_account", "account"),
)
# A Node-ID stays when its account goes: nobody else may ever get it.
NODE = Table(
    "node",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("node_id", LargeBinary, nullable=False, unique=True),
    Column("holding", Integer, ForeignKey("holding.id", ondelete="SET NULL")),
    Column("not_after", Double, nullable=False),
    Index("node_holding", "holding"),
)
INVITATION = Table(
    "invitation",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("inviter", Words, nullable=False),
    Column("user", Words, nullable=False),
    Column("admits_machine", Boolean, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("is_withdrawn", Boolean, nullable=False, server_default=false()),
    # No number is used again.
    sqlite_autoincrement=True,
)
INVITATION_USE = Table(
    "invitation_use",
    METADATA,
    Column("invitation", Integer, ForeignKey("invitation.id"), nullable=False),
    Column("user", Words, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("date", Double, nullable=False),
    UniqueConstraint("invitation", "user", "key_hash"),
)
ATTEMPT = Table(
    "attempt",
    METADATA,
    Column("mark", LargeBinary, primary_key=True),
    # When the allowance is whole again, in milliseconds since 1970-01-01 UTC.
    Column("whole_at_ms", BigInteger, nullable=False),
    Index("attempt_whole_at_ms", "whole_at_ms"),
)

REQUEST = Table(
    "request",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("holding", Integer, ForeignKey("holding.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("csr", LargeBinary, nullable=False),
    # In hex, one after the other: what the certificate is to have.
    Column("node_ids", Words, nullable=False),
    Column("date", Double, nullable=False),
    # No number is used again.
    sqlite_autoincrement=True,
)

# What is so at this overlay, by name.
RULE = Table("rule", METADATA, Column("name", Words, primary_key=True))
APPLICANT = Table(
    "applicant",
    METADATA,
    Column("member", Words, primary_key=True),
    Column("account", Words, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("asked", Double, nullable=False),
    Column("source", Words, nullable=False),
    Column("invitation", Integer, ForeignKey("invitation.id")),
    Column("approved", Double),
)
REVOCATION = Table(
    "revocation",
    METADATA,
    Column("member", Words, primary_key=True),
    Column("date", Double, nullable=False),
    Column("until", Double, nullable=False),
    # In hex, one after the other: what was revoked with it.
    Column("node_ids", Words, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("event", Words, nullable=False),
    Column("date", Double, nullable=False),
    Column("actor", Words, nullable=False),
    Column("account", Words, nullable=False),
    Column("user", Words, nullable=False),
    Column("details", Words, nullable=False),
    sqlite_autoincrement=True,
)

VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own."""
