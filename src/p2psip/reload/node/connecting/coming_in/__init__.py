"""How nodes come in: by which ways the overlay is sought, and what peers are to those that find it."""
