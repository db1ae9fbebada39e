"""Mixing: many who hear each other (docs/decisions/conference.md)."""
