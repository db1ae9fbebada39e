"""The lines of a peer: enrolled, kept on disk, served."""
