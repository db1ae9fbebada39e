"""Which resources have notes, all the way round the ring: python find.py STATE_DIR"""

import asyncio
import sys

import p2psip
from p2psip.api import DictionaryKind, ResourceId

NOTES = DictionaryKind(0xF0000003)


def after(resource: ResourceId) -> ResourceId:
    number = (int.from_bytes(resource, "big") + 1) % (1 << 8 * len(resource))
    return ResourceId(number.to_bytes(len(resource), "big"))


async def main(state_dir: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        place = overlay.resource("anywhere")
        peers = set()
        while (peer := (await overlay.ping(place)).node) not in peers:
            peers.add(peer)
            found = (await overlay.find(place, NOTES))[NOTES]
            print(f"peer {peer.short}: {found.hex() if found else 'no notes'}")
            place = after(ResourceId(peer))  # the next peer is responsible from here


asyncio.run(main(sys.argv[1]))
