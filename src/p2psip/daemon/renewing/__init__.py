"""What is fetched again before it runs out: certificates, the configuration."""
