"""Where the two towers meet: lines, the way from an AoR to a phone, connections between peers, services."""
