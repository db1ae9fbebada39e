"""What the enrollment server asks of others: its store, and who signs; in the core it waits for nobody."""
