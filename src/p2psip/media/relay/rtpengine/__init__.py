"""Debian's rtpengine in the relay's place, for calls between two phones of this peer (docs/decisions/rtpengine.md)."""
