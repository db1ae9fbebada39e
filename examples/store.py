"""Store values of each data model: python store.py STATE_DIR"""

import asyncio
import sys

import p2psip
from p2psip.api import ArrayKind, DictionaryKind, SingleKind

MOTTO = SingleKind(0xF0000001)  # USER-MATCH: under the user's own name
DIARY = ArrayKind(0xF0000002)  # USER-MATCH
NOTES = DictionaryKind(0xF0000003)  # USER-NODE-MATCH: under the user's own name, the key is the Node-ID


async def main(state_dir: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        me = overlay.user
        await overlay.store(me, MOTTO, b"one thing after another")
        for day in (b"rain", b"sun"):
            await overlay.store(me, DIARY, day)  # without an index: at the end
        receipt = await overlay.store(me, NOTES, b"buy milk", lifetime_s=3600)
        print(f"stored at {receipt.responsible}, generation {receipt.generation}")
        await overlay.remove(me, DIARY, index=0)


asyncio.run(main(sys.argv[1]))
