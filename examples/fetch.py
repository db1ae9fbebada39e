"""Fetch what store.py has stored: python fetch.py STATE_DIR USER@OVERLAY"""

import asyncio
import sys

import p2psip
from p2psip.api import ArrayKind, DictionaryKind, SingleKind

MOTTO = SingleKind(0xF0000001)
DIARY = ArrayKind(0xF0000002)
NOTES = DictionaryKind(0xF0000003)


async def main(state_dir: str, user: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        motto = await overlay.fetch(user, MOTTO)
        print("motto:", motto.data.decode() if motto else "none")
        for index, entry in (await overlay.fetch(user, DIARY)).items():
            print(f"diary {index}: {entry.data.decode()}")
        for key, note in (await overlay.fetch(user, NOTES)).items():
            print(f"note of {key.hex()[:8]}, signed by {note.signer.user}: {note.data.decode()}")


asyncio.run(main(sys.argv[1], sys.argv[2]))
