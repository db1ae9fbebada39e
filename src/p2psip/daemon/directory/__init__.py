"""The directory at a running peer: what is kept over a restart, and what is told of it."""
