"""Which agents a peer has: one that is new is one line more here."""

from __future__ import annotations

import random

from p2psip.sip.entities.agents.agent_table import AgentCore
from p2psip.sip.entities.agents.code_service import CodeService
from p2psip.sip.entities.agents.echo import EchoService
from p2psip.sip.entities.conference.room_caller import RoomCaller
from p2psip.sip.entities.conference.room_mixer import RoomMixer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.handling.star_codes import ECHO
from p2psip.sip.entities.mailbox.mailbox_service import MailboxService
from p2psip.sip.entities.mailbox.text_agent import TextAgent
from p2psip.sip.entities.overlays.crossing import crossings_of
from p2psip.sip.entities.paging.pager import Pager
from p2psip.sip.entities.switching.switchboard import Switchboard


def agents_of(config: ServerConfig, handlings: Handlings, rng: random.Random) -> tuple[AgentCore, ...]:
    """The agents that every peer of an overlay has."""
    echo = EchoService(config.realm, rng, number=config.numbering.codes.codes[ECHO])
    codes, switchboard = CodeService(config, handlings, rng), Switchboard(config, rng)
    rooms = config.numbering.rooms
    mixers = () if rooms is None else (RoomMixer(config, rooms, rng),)
    pagers = (Pager(config, handlings, rng),) if config.numbering.pages else ()
    mailbox, texts = MailboxService(config, handlings, rng), TextAgent(config, rng)
    always = (echo, codes, switchboard, mailbox, texts, RoomCaller(config, rng))
    return (*always, *mixers, *pagers, *crossings_of(config, rng))
