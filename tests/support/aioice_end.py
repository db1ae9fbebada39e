"""One end of a session made by aioice, as a program. It speaks with its parent by its standard input, in JSON.

Its arguments: controlling or controlled, the host of STUN and TURN, their ports, a user name and a password. It says
its words, is told the other end's, connects, says what has become of it, sends one datagram and says what came.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

import aioice

DATA = b"\x17from aioice"


async def main(role: str, server: str, stun_port: str, turn_port: str, user: str, password: str) -> None:
    """From gathering to the end."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=0))
    connection = aioice.Connection(
        ice_controlling=role == "controlling",
        stun_server=(server, int(stun_port)),
        turn_server=(server, int(turn_port)),
        turn_username=user,
        turn_password=password,
    )

    def say(**facts: object) -> None:
        writer.write(json.dumps(facts).encode() + b"\n")

    await connection.gather_candidates()
    candidates = [
        [each.type, each.host, each.port, each.priority, each.foundation] for each in connection.local_candidates
    ]
    say(ufrag=connection.local_username, password=connection.local_password, candidates=candidates)
    theirs = json.loads(await reader.readline())
    connection.remote_username, connection.remote_password = theirs["ufrag"], theirs["password"]
    for kind, host, port, priority, foundation in theirs["candidates"]:
        await connection.add_remote_candidate(
            aioice.Candidate(foundation, 1, "udp", priority, host, port, kind, related_address=None)
        )
    await connection.add_remote_candidate(None)
    try:
        await connection.connect()
        say(connected=True)
        await connection.send(DATA)
        say(heard=(await asyncio.wait_for(connection.recv(), 30)).decode("latin-1"))
    except (ConnectionError, TimeoutError) as error:
        say(error=repr(error))
    await reader.readline()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
