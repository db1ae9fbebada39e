"""Numbers: what people dial, and what this peer's operator has it mean."""
