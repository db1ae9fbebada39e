"""The directory as phones and people read it: what is listed, and in which formats."""
