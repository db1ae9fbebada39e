"""What a node keeps up: configurations, certificates, what it tells of itself."""
