"""Scenarios: who takes part in a simulated overlay, what happens to it, and whether it gets over that."""
