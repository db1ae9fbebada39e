"""Announce a service until Ctrl-C: python service_provider.py STATE_DIR SERVICE"""

import asyncio
import sys

import p2psip


async def main(state_dir: str, service: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        await overlay.services.register(service, capacity=20, load=25, policy="members")
        print(f"ready {overlay.node_id}", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], sys.argv[2]))
