"""How many bytes may go in a second: a bucket that refills."""

from __future__ import annotations


class Bucket:
    """So many bytes a second, and those of one second at once."""

    def __init__(self, bytes_per_s: int, now: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._left = float(bytes_per_s)
        self._at = now

    def take(self, size: int, now: float) -> bool:
        """Take so many bytes if they are there."""
        self._left = min(self._bytes_per_s, self._left + (now - self._at) * self._bytes_per_s)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True
