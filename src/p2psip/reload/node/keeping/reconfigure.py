"""What of a node an overlay's configuration decides, at the beginning and when it changes (RFC 6940 section 11.1)."""

from __future__ import annotations

from p2psip.base.timers import Deadline, Timers
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.node.connecting.connection_table import Connection
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.keeping.config_updates import why_no_member
from p2psip.reload.node.message_passing import Messages
from p2psip.reload.node.parts import Ground
from p2psip.reload.security.roles import Verifier
from p2psip.reload.topology.plugin import TopologyPlugin, obstacles_to
from p2psip.reload.usages.rules import rules_of

CLIENT_STAY_S = 180.0
"""How long a node that we are linked with may take to become a peer where clients are not permitted: a join takes
seconds, and is tried again after half a minute at most."""


class Reconfiguring:
    """Changes every part of a node to a new configuration; who may be linked is for the node itself."""

    def __init__(
        self,
        ground: Ground,
        messages: Messages,
        plugin: TopologyPlugin,
        data: Data,
        verifier: Verifier,
        *,
        is_client: bool,
    ) -> None:
        self._exchange, self._topology = ground.exchange, ground.topology
        self._connections, self._forwarder, self._paths = ground.connections, ground.forwarder, ground.paths
        self._messages = messages
        self._data = data
        self._plugin = plugin
        self._verifier = verifier
        self._is_client = is_client
        self._timers: Timers[None] = ground.queue.scope()

    def use(self, configuration: OverlayConfiguration, now: float) -> tuple[str, ...]:
        """Follow this configuration, which the exchange and the verifier have already; why we can be no member."""
        self._forwarder.ttl_max = configuration.initial_ttl
        self._forwarder.paths.reliability_timer_s = configuration.overlay_reliability_timer_ms / 1000
        self._paths.whereabouts.permit(configuration.link_types)
        self._connections.use_configuration(configuration.max_message_size)
        self._messages.reassembler.message_bytes_max = configuration.max_message_size
        if configuration.topology_plugin == self._plugin.name:
            self._topology.use_configuration(configuration, now)
        self._data.use_rules(rules_of(configuration, self._verifier, self._plugin.hash_name), now)
        self._exchange.transport.use_configuration(
            configuration_sequence=configuration.sequence,
            reliability_timer_s=configuration.overlay_reliability_timer_ms / 1000,
            ttl=configuration.initial_ttl,
            models=configuration.models,
            message_bytes_max=configuration.max_message_size,
            now=now,
        )
        why_not = why_no_member(self._verifier, self._exchange, now)
        is_barred = self._is_client and not configuration.clients_permitted
        barred = ["all nodes to be peers, and this is a client"] if is_barred else []
        return (*obstacles_to(configuration, self._plugin), *barred, *([why_not] if why_not else []))

    # Clients where there must be none

    def watch(self) -> None:
        """After whatever happened: `overstayed` is wanted when the first of them has stayed for too long."""
        if self._exchange.configuration.clients_permitted:
            return
        soonest = min((link.came_up_at for link in self._guests()), default=None)
        deadline = None if soonest is None else Deadline(soonest + CLIENT_STAY_S, "no clients are permitted")
        if deadline is None:
            self._timers.cancel(None)
        elif deadline != self._timers.next_deadline():
            self._timers.set(None, *deadline)

    def overstayed(self, now: float) -> list[tuple[int, str]]:
        """The links of nodes that have remained clients where the configuration says that they must not.

        11.1, clients-permitted: "If the nodes are not allowed to remain clients after the initial join, the element
        MUST be set to "false"."
        """
        if not any(True for _ in self._timers.pop_due(now)):
            return []
        reason = "this overlay permits no clients, and the node has not become a peer"
        return [(link.number, reason) for link in self._guests() if now >= link.came_up_at + CLIENT_STAY_S]

    def _guests(self) -> list[Connection]:
        """Links with nodes that are no peers, where that matters."""
        if self._exchange.configuration.clients_permitted or not self._topology.is_serving:
            return []
        return [link for link in self._connections.all() if link.node not in self._topology.routes]
