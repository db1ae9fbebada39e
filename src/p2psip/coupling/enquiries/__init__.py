"""What a peer is asked about users and ways, and looks up in the overlay."""
