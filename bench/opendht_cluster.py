"""32 OpenDHT nodes in one process: processor time of a put and of a get. The system's Python runs it.

`python3 bench/opendht_cluster.py NODES ROUNDS PER_ROUND` prints one JSON object with the readings in milliseconds.
The values are unsigned, and each is read by another node than the one that put it.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import opendht

HOST = "127.0.0.1"
PATIENCE_S = 60.0


def cluster(nodes: int) -> list[Any]:
    """Runners that know each other: all begin with the first."""
    runners: list[Any] = []
    for _ in range(nodes):
        runner = opendht.DhtRunner()
        runner.run(port=0, ipv4=HOST)
        if runners:
            runner.bootstrap(HOST, str(runners[0].getBound().getPort()))
        runners.append(runner)
    return runners


def wait_connected(runners: list[Any], key: object) -> None:
    """Until a get at each of them ends."""
    deadline = time.monotonic() + PATIENCE_S
    for runner in runners:
        while not runner.isRunning():
            assert time.monotonic() < deadline, "OpenDHT does not start"
            time.sleep(0.05)
        runner.get(key)


def readings_ms(work: Callable[[], None], rounds: int, per_round: int) -> list[float]:
    """Of the whole process, all its threads."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(per_round):
            work()
        found.append((time.process_time() - began) / per_round * 1000)
    return found


def main(nodes: int, rounds: int, per_round: int) -> None:
    """Puts, then gets of what was put."""
    rng = random.Random("opendht")
    runners = cluster(nodes)
    wait_connected(runners, opendht.InfoHash.get("warm up"))
    keys: list[Any] = []

    def put() -> None:
        keys.append(opendht.InfoHash.get(f"key {len(keys)}"))
        assert rng.choice(runners).put(keys[-1], opendht.Value(b"sip:" + bytes(96)))

    def get() -> None:
        assert rng.choice(runners).get(rng.choice(keys)), "a value was not found"

    puts = readings_ms(put, rounds, per_round)
    gets = readings_ms(get, rounds, per_round)
    print(json.dumps({"put": puts, "get": gets}))
    for runner in runners:
        runner.join()


main(*map(int, sys.argv[1:]))
