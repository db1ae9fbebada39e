"""Who is responsible for a name, and how far away: python ping.py STATE_DIR NAME"""

import asyncio
import sys

import p2psip
from p2psip.api import RequestFailed


async def main(state_dir: str, name: str) -> None:
    async with p2psip.connect(state_dir) as overlay:
        try:
            pong = await overlay.ping(name)
        except RequestFailed as error:
            sys.exit(f"{error.what}: {'; '.join(map(str, error.causes))}")
        print(f"{pong.user} ({pong.node.short}) answered after {pong.rtt_ms:.1f} ms; hops: {pong.hops}")


asyncio.run(main(sys.argv[1], sys.argv[2]))
