"""Services that peers offer each other, above what finds them."""
