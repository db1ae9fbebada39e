"""Commands that need no peer and no overlay: what is in a message, what may happen to an overlay."""
