"""What p2psip costs: `make bench`. One JSON object a line on standard output, a table of the same on standard error.

A speed is measured here and never tested: machines differ, and neighbours are noisy. `docs/measurements.md` says what
was measured and how.
"""
