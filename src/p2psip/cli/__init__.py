"""The command line: a thin client of the running peer, and the tools around it."""
