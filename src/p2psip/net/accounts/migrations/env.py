"""Alembic runs this: in the transaction of who asks for the migration."""

from __future__ import annotations

from alembic import context

from p2psip.net.accounts.account_tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
