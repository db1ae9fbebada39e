"""The directory of an overlay at one peer: its lines' entries go out, those of all lines are here."""
