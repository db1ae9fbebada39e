"""How long the values are, and what they hash to, without fetching them: python stat.py STATE_DIR USER@OVERLAY"""

import asyncio
import sys

import p2psip
from p2psip.api import DictionaryKind

NOTES = DictionaryKind(0xF0000003)


async def main(state_dir: str, user: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        for key, about in (await overlay.stat(user, NOTES)).items():
            print(f"note of {key.hex()[:8]}: {about.length} bytes, {about.digest.hex()}")


asyncio.run(main(sys.argv[1], sys.argv[2]))
