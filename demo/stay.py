"""For whoever has seen the story and wants to be in it: how to register a phone of one's own."""

from __future__ import annotations

from pathlib import Path

from demo.overlay import GUEST, NAME
from demo.processes import P2PSIP
from demo.story import Story


async def invite(story: Story) -> None:
    """An account and a line for the third user."""
    await story.overlay.add_user(GUEST)
    await story.overlay.add_line(GUEST, story.roles.alice)


def invitation(story: Story) -> str:
    """What one can do now."""
    roles, passwords = story.roles, story.overlay.phone_passwords
    phones = "\n".join(
        f"    {user:<6} server {site.phones_at}   password {passwords[user]}   (at {site.name})"
        for user, site in (
            (GUEST, roles.alice),
            ("alice", roles.alice),
            ("bob", roles.bob_next),
            ("bob", roles.bob),
        )
    )
    p2psip, peer, dead = _shortest(P2PSIP), roles.alice.directory, roles.keeper.directory
    return f"""
It stays up until Ctrl-C. Register a SIP phone of your own, on this machine (UDP or TCP, no TLS):

{phones}

  Call *43 to hear yourself, bob or sip:bob@{NAME} to hear bob's tone. Without a phone at hand:

    PASSWORD={passwords[GUEST]} {p2psip} phone --server {roles.alice.phones_at} --user {GUEST} \\
        --password-env PASSWORD call bob --expect-tone {story.bob.tone_hz}

  Look around:

    {p2psip} status --peer {peer}
    {p2psip} lookup sip:bob@{NAME} --peer {peer}
    tail -f {peer.parent / "logs" / roles.alice.name}.log

  Bring a peer back that was killed:

    {p2psip} peer run {dead}
"""


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
