"""Mailboxes in the overlay: messages are left for others, and read by their owners (docs/decisions/mailboxes.md)."""
