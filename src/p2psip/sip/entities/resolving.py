"""Who is asked where a request goes, in this order (docs/decisions/resolvers.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p2psip.sip.entities.agents.agent_table import AgentTable
from p2psip.sip.entities.agents.state_agent import StateAgent
from p2psip.sip.entities.conference.by_room import ByRoom
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.by_domain import ByDomain, BySharedDomain, ForLinesAlone, GuestsLearnNothing
from p2psip.sip.entities.gateway.by_gateway import ByGateway
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.entities.handling.by_codes import ByCodes
from p2psip.sip.entities.handling.by_handling import ByHandling
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.mailbox.by_mailbox import ByMailbox
from p2psip.sip.entities.numbers.by_dial_plan import ByDialPlan
from p2psip.sip.entities.numbers.by_emergency import ByEmergency
from p2psip.sip.entities.numbers.by_group import ByGroup, GroupTime
from p2psip.sip.entities.overlays.by_overlay import ByOverlay
from p2psip.sip.entities.paging.by_page import ByPage
from p2psip.sip.entities.proxy.resolvers import (
    ByRoute,
    ByToken,
    InDialog,
    Outside,
    OwnAgents,
    OwnState,
    Resolver,
    Users,
)
from p2psip.sip.entities.registrar.tokens import Tokens
from p2psip.sip.entities.registrar.ways import Ways
from p2psip.sip.entities.switching.by_place import ByPlace
from p2psip.sip.entities.switching.picking_up import ByPickUp


def resolvers_of(
    config: ServerConfig,
    agents: AgentTable,
    trunks: Sequence[Trunk],
    ways: Ways,
    tokens: Tokens,
    handlings: Handlings,
    state: StateAgent,
    ringing: Callable[[str], int | None],
    more: Sequence[Resolver],
) -> tuple[Resolver, ...]:
    """All of them; `more` are of whoever makes the server. Behind the first three come no requests within a dialog for
    users.

    `ringing` says which call rings now for a user or a group.
    """
    handling = ByHandling(config, handlings)
    return (
        ByRoute(config, ways),
        ByToken(ways, handling.refusal),
        InDialog(config),
        ByPlace(config, tokens),
        *more,
        ByRoom(config, state),
        ForLinesAlone(ByEmergency(config), config),
        ForLinesAlone(ByDialPlan(config), config),
        ForLinesAlone(ByOverlay(config), config),
        ForLinesAlone(ByGateway(config, trunks), config),
        ForLinesAlone(ByCodes(config, handlings, ringing), config),
        ForLinesAlone(ByPage(config), config),
        ForLinesAlone(ByPickUp(config, handlings, ringing), config),
        GroupTime(config),
        ByGroup(config, handlings),
        handling,
        ForLinesAlone(ByMailbox(config, handlings), config),
        ForLinesAlone(OwnAgents(config, agents), config),
        OwnState(config),
        GuestsLearnNothing(config),
        BySharedDomain(config),
        Users(config),
        ByDomain(config, ways),
        Outside(ways),
    )
