"""Conferences: a number is a room (docs/decisions/conference.md)."""
