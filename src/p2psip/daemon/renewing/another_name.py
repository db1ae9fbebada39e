"""A peer, in an overlay whose members make their own certificates, whose user name was somebody else's already."""

from __future__ import annotations

import random

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.state.state import PeerState, save_identity
from p2psip.enrollment.client import self_enroll
from p2psip.enrollment.user_names import next_name
from p2psip.reload.node.effects import UserNameTaken


def takes_another_name(state: PeerState, taken: UserNameTaken, journal: Journal) -> bool:
    """RFC 6940 11.3.1: "if so, choose another user name": a peer counts on, a line is left to its user.

    True if the peer has another one now, with which it has to start anew.
    """
    identity = state.identity
    who = {"user": taken.user, "node": taken.node, "other": taken.other}
    if taken.node != identity.node_id:
        journal.warning("the user name of a line is taken", **who, means="calls to it ring at both")
        return False
    user, nodeids = next_name(identity.user), len(identity.node_ids)
    renamed = self_enroll(state.configuration, identity.key, user, random.SystemRandom(), nodeids=nodeids)
    try:
        save_identity(state.directory, renamed)
    except LocalMisuse as error:
        # A disk that is full, say. The overlay will tell us again.
        journal.warning("the user name of this peer is taken", **who, means=f"it cannot change: {error}")
        return False
    journal.warning("the user name of this peer is taken", **who, means=f"it starts anew as {user}")
    return True
