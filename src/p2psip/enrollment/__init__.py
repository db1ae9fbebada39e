"""Becoming a member (RFC 6940 section 11.2, 11.3): founding an overlay, its enrollment server, and the client of it.

Both ends are cores; `p2psip.net.https.server`, `.https_client` and `.account_database` are their shells.
"""
