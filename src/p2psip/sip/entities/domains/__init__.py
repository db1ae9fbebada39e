"""Other domains than the overlay's: where their servers are, who may call there, who may call from there."""
