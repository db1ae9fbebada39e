"""Where numbers lead that nobody in the overlay has: gateways of members, neighbours of other networks."""
