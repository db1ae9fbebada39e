"""Calls that are answered at another phone than they ring at, and calls that are parked."""
