"""What is kept of stored values, and where."""
