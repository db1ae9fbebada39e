"""Storage that clients lend their peer (draft-ietf-p2psip-concepts-01 section 5.5): both sides of it."""
