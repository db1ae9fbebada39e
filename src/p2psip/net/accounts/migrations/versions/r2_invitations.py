"""Invitations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """They come with two tables of their own."""
    op.create_table(
        "invitation",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("inviter", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("admits_machine", sa.Boolean, nullable=False),
        sa.Column("uses", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("is_withdrawn", sa.Boolean, nullable=False, server_default=sa.false()),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "invitation_use",
        sa.Column("invitation", sa.Integer, sa.ForeignKey("invitation.id"), nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("key_hash", sa.LargeBinary, nullable=False),
        sa.Column("date", sa.Double, nullable=False),
        sa.UniqueConstraint("invitation", "user", "key_hash"),
    )
