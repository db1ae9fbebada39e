"""What travels in the extension points of RFC 6940: of other documents, and of our own."""
