"""What is said is kept, and digits that are pressed are told."""
