"""What `p2psip rooms` says of what a peer tells."""

from __future__ import annotations

from p2psip.cli.site.rooms import in_words

NODE = "2114b67006" + "0" * 22


def test_a_line_for_each_room() -> None:
    rooms = [
        {"room": "3001", "mixed_at": NODE, "mixed_by": "peer-hill@x", "people": ["alice", "bob"], "here": ["alice"]},
        {"room": "3002", "mixed_at": None, "mixed_by": None, "people": [], "here": ["carol"]},
    ]
    assert in_words(rooms) == [
        "room 3001, mixed by peer-hill (2114b670): alice, bob",
        "room 3002, not mixed now: carol",
    ]
    assert in_words([]) == []
