"""Send a line to echo_server.py and print what comes back: python echo_client.py STATE_DIR NODE-ID"""

import asyncio
import sys

import p2psip
from p2psip.api import NodeId

ECHO = 7


async def main(state_dir: str, node: NodeId) -> None:
    async with p2psip.connect(state_dir) as overlay, await overlay.app_attach(node, ECHO) as stream:
        await stream.write(b"hello\n")
        line = await stream.readline()
        print(f"{stream.user} says {line.decode().strip()}")


asyncio.run(main(sys.argv[1], NodeId(bytes.fromhex(sys.argv[2]))))
