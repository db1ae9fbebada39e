"""Who calls, proved from peer to peer (RFC 8224, RFC 8225)."""
