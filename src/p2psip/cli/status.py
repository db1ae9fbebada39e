"""`p2psip status`: what a running peer says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.cli.site.rooms import in_words
from p2psip.cli.terminal.tables import aligned, node_name

HELP = """Show what a running peer says of itself: its place in the overlay, its links, its lines and their phones.

Example:

\b
    p2psip status --peer ./peer
"""

FAILED_SHOWN_MAX = 4
"""How many peers with which there is no connection are shown, the last ones; `--json` has them all."""

ROLES_SHOWN_MAX = 4
"""The same of nodes for which this peer was bootstrap or admitting peer, or which were that for it."""

WAYS_SHOWN_MAX = 6
"""The same of ways to find the overlay."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def status(
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the running peer."""
    from p2psip.daemon.control_client import ask_peer

    facts: Any = ask_peer(peer, "status")
    if as_json:
        print(json.dumps(facts))
        return
    _print_peer(facts)
    if "members" in facts:
        print(f"  knows {facts['members']} members, itself among them")
    # Where a topology has an order of neighbours it says so; else they are just neighbours.
    for name in ("successors", "predecessors") if "successors" in facts else ("neighbors",):
        print(f"  {name + ':':13} {' '.join(node[:8] for node in facts[name]) or 'none'}")
    for row in aligned([_link(link) for link in facts["links"]]):
        print(f"  link {row}")
    if facts["port_mapping"]["allowed"]:
        print(f"  {facts['port_mapping']['what']}")
    _print_relays(facts["relays"])
    if engine := facts["media_engine"]:
        print(f"  media engine: {engine['engine']} {engine['state']}, carries {engine['calls']} calls")
    for tunnel in facts["tunnels"]:
        name = node_name(tunnel["user"], tunnel["node_id"])
        print(f"  calls with {name} go inside overlay messages; {tunnel['lacks']}")
    for failed in facts["failed_attempts"][-FAILED_SHOWN_MAX:]:
        name = node_name(failed["user"], failed["node_id"])
        what = "link" if failed["purpose"] == "reload" else "calls"
        print(f"  no {what} with {name}: {failed['reason']} ({failed['s_ago']:.0f} s ago)")
        for row in aligned([(p["local"], "to", p["remote"], p["types"], p["outcome"]) for p in failed["pairs"]]):
            print(f"    tried {row}")
    _print_phone_side(facts)


def _print_peer(facts: Any) -> None:
    """Who it is, how it came in, what it keeps."""
    print(f"{facts['user']}  Node-ID {facts['node_id']}")
    known = f"configuration {facts['configuration']}"
    # A machine that is out of descriptors, or closes /proc to the peer, does not say how much memory it has.
    memory = "memory unknown" if facts["memory_kb"] is None else f"{facts['memory_kb'] // 1024} MB"
    print(f"  {facts['state']} of {facts['overlay']}, {known}, up {facts['up_s']:.0f} s, {memory}")
    if facts["trouble"]:
        print(f"  {facts['trouble']}")
    for row in aligned([_way_in(tried) for tried in facts["ways_in"][-WAYS_SHOWN_MAX:]]):
        print(f"  {row}")
    for row in aligned([_role(played) for played in facts["roles"][-ROLES_SHOWN_MAX:]]):
        print(f"  {row}")
    if remote := facts["same_node_id_at"]:
        print(f"  another machine, {remote}, runs with a copy of this state directory: stop one of the two")
    if not facts["date_trusted"]:
        print("  the date is not set: certificates are not checked for their dates")
    if facts["shed"]:
        print(f"  {facts['shed']}")
    print(f"  keeps {facts['records']['count']} records, {facts['records']['bytes']} bytes")
    _print_lent(facts)


def _print_lent(facts: Any) -> None:
    """The storage that a client lends, and what clients keep for a peer."""
    if (lends := facts["lends"]) is not None:
        to = f"to {lends['user'] or lends['to'][:8]}" if lends["to"] else "to nobody yet"
        print(f"  lends {lends['room_bytes']} bytes {to}: {lends['records']} records, read {lends['reads']} times")
    for each in facts["lenders"]:
        aside = "" if each["asked"] else ", not asked now"
        print(
            f"  {each['user'] or each['node_id'][:8]} lends {each['room_bytes']} bytes: {each['records']} records, "
            f"{each['bytes']} bytes; served {each['answered']} times, failed {each['failed']}{aside}"
        )


def _print_phone_side(facts: Any) -> None:
    """Where calls go, and whose they are."""
    for overlay in facts["overlays"]:
        print(f"  also in {overlay['overlay']}: {_beside(overlay)}")
    for trunk in facts["trunks"]:
        print(f"  trunk {trunk['name']}: {trunk['state']}, {trunk['calls']} of {trunk['calls_max']} calls")
    for room in in_words(facts["rooms"]):
        print(f"  {room}")
    for neighbour in facts["dundi"]["peers"] if facts["dundi"] else ():
        rtt = "" if neighbour["rtt_ms"] is None else f", {neighbour['rtt_ms']} ms"
        why = f"; {neighbour['last_failure']}" if neighbour["last_failure"] else ""
        print(f"  DUNDi peer {neighbour['name']}: {neighbour['state']}{rtt}{why}")
    for line in facts["lines"]:
        phones = ", ".join(phone["via"] for phone in line["phones"]) or "no phone registered"
        print(f"  line {line['user']}: {phones}{'; ' + line['problem'] if line['problem'] else ''}")


def _beside(overlay: Any) -> str:
    """How the site's peer in another overlay does; `status --peer` with its directory says more."""
    if "member" not in overlay:
        return f"ended: {overlay['ended']}" if overlay["ended"] else "is being started"
    count = overlay["neighbors"]
    state = f"{count} neighbour{'' if count == 1 else 's'}" if overlay["member"] else "not in it yet"
    return f"{state}; lines {', '.join(overlay['lines']) or 'none'}; its peer is in {overlay['directory']}"


def _print_relays(relays: Any) -> None:
    if relays["offered"]:
        print(f"  relays for others: {relays['lent_to_others']} addresses lent")
    elif relays["known"]:
        in_use = ", ".join(relays["in_use"]) or "none"
        print(f"  relays known: {len(relays['known'])}, in use: {in_use}")


def _role(played: Any) -> tuple[str, ...]:
    """As who this peer was to whom: as the joining peer it was the other that did something."""
    label = "let in by:" if played["role"] == "joining peer" else f"{played['role']} for:"
    return label, node_name(played["user"], played["node_id"]), f"{played['did']} ({played['s_ago']:.0f} s ago)"


def _way_in(tried: Any) -> tuple[str, ...]:
    """Of who has come in the way by which it did, first of all."""
    label = "came in by:" if tried["winner"] else "tried:"
    return label, tried["way"], tried["address"] or "", f"{tried['result']} ({tried['s_ago']:.0f} s ago)"


def _link(link: Any) -> tuple[str, ...]:
    rtt = f"{link['rtt_ms']:.1f} ms" if link["rtt_ms"] is not None else "not measured"
    over = link["over"] if link["pair"] is None else f"{link['over']} from {link['local']}, {link['pair']}"
    return node_name(link["user"], link["node_id"]), link["address"], over, link["state"], rtt
