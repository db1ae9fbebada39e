"""What several instances of a server share: attempts that count, requests that wait for being signed, the
audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Releases before kept the attempts in memory, and signed at once."""
    op.create_table(
        "attempt",
        sa.Column("mark", sa.LargeBinary, primary_key=True),
        sa.Column("whole_at_ms", sa.BigInteger, nullable=False),
        sa.Index("attempt_whole_at_ms", "whole_at_ms"),
    )
    op.create_table(
        "request",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("holding", sa.Integer, sa.ForeignKey("holding.id", ondelete="CASCADE"), nullable=False, unique=True),
        sa.Column("csr", sa.LargeBinary, nullable=False),
        sa.Column("node_ids", sa.Text, nullable=False),
        sa.Column("date", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("date", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
