"""Send back every line that another node sends: python echo_server.py STATE_DIR"""

import asyncio
import sys

import p2psip
from p2psip.api import Stream

ECHO = 7


async def serve(stream: Stream) -> None:
    async with stream:
        while line := await stream.readline():
            await stream.write(line)


async def main(state_dir: str) -> None:
    async with p2psip.connect(state_dir) as overlay, overlay.listen(ECHO) as streams, asyncio.TaskGroup() as tasks:
        print(f"ready {overlay.node_id}", flush=True)
        async for stream in streams:
            tasks.create_task(serve(stream))


asyncio.run(main(sys.argv[1]))
