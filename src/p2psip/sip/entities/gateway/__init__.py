"""A gateway: calls between the overlay and a telephone line or a PBX, over a SIP trunk (docs/decisions/gateways.md)."""
