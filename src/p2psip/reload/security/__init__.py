"""Who a node is and whom it believes (RFC 6940 section 6.3.4, 11.3 and 13.3): certificates and signatures."""
