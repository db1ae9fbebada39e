"""What all commands share: how they ask, print and end."""
