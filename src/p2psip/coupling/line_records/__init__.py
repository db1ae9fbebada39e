"""What is in the overlay of a line beside where its record is kept: its phones, its home peer, and its going."""
