"""ICE (RFC 8445, with RFC 6940 section 6.5.1's profile): from candidates of both ends to a pair that works."""
