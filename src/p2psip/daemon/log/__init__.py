"""The log of a process, and what is written into it."""
