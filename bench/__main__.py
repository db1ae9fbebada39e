"""`python -m bench [GROUP ...]`: measure all groups, or those named."""

from __future__ import annotations

import importlib
import json
import sys

from bench.results import HEADING, Result, machine

GROUPS = {
    "callers": "who calls: a PASSporT signed and verified",
    "codec": "each type of message: decode and encode",
    "sip": "the SIP server of a peer: a registration, a call",
    "records": "32 members in one process: signed Store, signed and verified Fetch",
    "disk": "100,000 records on disk: open them, ask what moves when a peer joins",
    "forwarding": "one peer as a process: messages passed on between two TLS links",
    "links": "one link over TLS, one over DTLS: handshakes, messages",
    "media": "100 calls through a relay as a process: processor, added delay, loss",
    "mixing": "a room of a conference: a frame of 20 ms for all who are in",
    "relay": "a TURN relay over UDP and over TLS: processor of a datagram, memory of an allocation",
    "virtual": "100 peers in virtual time: joins, hops",
    "sim": "100 idle peers in virtual time: processor and memory of one (SIM_PEERS, SIM_SECONDS: others)",
    "topologies": "each topology with 10 and 50 idle peers in virtual time: links, messages, hops, joins, deaths",
    "merge": "parts in virtual time that grow together (MERGE_PEERS, MERGE_SEEDS, MERGE_APART_S: others)",
    "routing": "100 peers in virtual time: responses that go back, directly, by a relay peer (ROUTING_PEERS: others)",
    "idle": "17 peers as processes, 15 behind NATs, all linked: what each sends, with no call (root; IDLE_S: how long)",
    "phones": "a peer as a process, 1,000 phones by SIPp: a registration, a call, beside Kamailio (LOAD_S: how long)",
    "live": "5 peers as processes: joins, lookups, calls, memory",
}


def main(wanted: list[str]) -> int:
    """Measure."""
    if unknown := [name for name in wanted if name not in GROUPS]:
        print(f"bench: there is no {unknown[0]}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    print(json.dumps({"machine": machine()}), flush=True)
    results: list[Result] = []
    for name in wanted or GROUPS:
        print(f"bench: {name}: {GROUPS[name]}", file=sys.stderr, flush=True)
        for found in importlib.import_module(f"bench.{name}").measure():
            results.append(found)
            print(found.line(), flush=True)
    print("\n".join(["", HEADING, *(found.row() for found in results)]), file=sys.stderr)
    return 0


sys.exit(main(sys.argv[1:]))
