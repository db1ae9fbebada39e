"""The audio of calls whose phones do not reach each other, carried by their peers (docs/decisions/media.md)."""
