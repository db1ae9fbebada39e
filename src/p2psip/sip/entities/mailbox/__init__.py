"""Messages that callers leave, and how they are heard (docs/decisions/mailboxes.md)."""
