"""The methods of TURN (RFC 8656 section 17)."""

from __future__ import annotations

from typing import Final

ALLOCATE: Final = 0x003
REFRESH: Final = 0x004
SEND: Final = 0x006
DATA_METHOD: Final = 0x007
CREATE_PERMISSION: Final = 0x008
CHANNEL_BIND: Final = 0x009

UDP: Final = 17
"""What REQUESTED-TRANSPORT may say (section 18.8)."""
