"""Find up to three providers of a service: python service_finder.py STATE_DIR SERVICE"""

import asyncio
import sys

import p2psip


async def main(state_dir: str, service: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        for found in await overlay.services.find(service, near=overlay.user, want=3):
            print(f"{found.user} ({found.node}): {found.load} % of {found.capacity}, for {found.policy}")


asyncio.run(main(sys.argv[1], sys.argv[2]))
