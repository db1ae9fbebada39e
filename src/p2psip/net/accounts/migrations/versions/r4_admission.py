"""Who waits for the operator's approval, and who was revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """In releases before, nobody had to be approved."""
    op.create_table("rule", sa.Column("name", sa.Text, primary_key=True))
    op.create_table(
        "applicant",
        sa.Column("member", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("key_hash", sa.LargeBinary, nullable=False),
        sa.Column("asked", sa.Double, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("invitation", sa.Integer, sa.ForeignKey("invitation.id")),
        sa.Column("approved", sa.Double),
    )
    op.create_table(
        "revocation",
        sa.Column("member", sa.Text, primary_key=True),
        sa.Column("date", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("node_ids", sa.Text, nullable=False),
    )
