"""The topology plug-ins that are installed: each is an entry point of the group `p2psip.topologies`, by its name.

Nobody knows one of them otherwise. How to write one: docs/topologies.md.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from p2psip.base.errors import LocalMisuse
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.configuration import obstacles as general_obstacles
from p2psip.reload.topology.plugin import TopologyPlugin, obstacles_to

GROUP = "p2psip.topologies"


@cache
def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def topology_names() -> list[str]:
    """What a configuration's topology-plugin may say here."""
    return sorted(_installed())


def topology(name: str) -> TopologyPlugin:
    """The plug-in of this name. Raises LocalMisuse if it is not installed."""
    entry = _installed().get(name)
    if entry is None:
        raise LocalMisuse(_not_installed(name))
    plugin: TopologyPlugin = entry.load()
    if plugin.name != name:
        raise LocalMisuse(f"the entry point {name} of {GROUP} gives a plug-in named {plugin.name}: rename one of them")
    return plugin


def obstacles(configuration: OverlayConfiguration) -> list[str]:
    """Why a node cannot be a member of the overlay with what is installed, in words; empty if it can."""
    if configuration.topology_plugin not in _installed():
        return [_not_installed(configuration.topology_plugin), *general_obstacles(configuration)]
    return obstacles_to(configuration, topology(configuration.topology_plugin))


def require(plugin: TopologyPlugin, configuration: OverlayConfiguration) -> None:
    """Raises LocalMisuse if an overlay cannot be founded so with this topology; it says with which it can."""
    if reasons := plugin.obstacles(configuration):
        others = [name for name in topology_names() if not _obstacles_as(name, configuration)]
        hint = f"; {' or '.join(f'--topology {name}' for name in others)} can" if others else ""
        raise LocalMisuse(f"topology {plugin.name} cannot do that: {'; '.join(reasons)}{hint}")


def _obstacles_as(name: str, configuration: OverlayConfiguration) -> list[str]:
    return topology(name).obstacles(replace(configuration, topology_plugin=name))


def _not_installed(name: str) -> str:
    known, named = topology_names(), name or repr(name)
    alike = get_close_matches(name.lower(), [one.lower() for one in known], n=1)
    meant = next((one for one in known if [one.lower()] == alike), None)
    what = f"did you mean {meant}?" if meant else "install the package that has it"
    return f"topology plug-in {named} is not installed here (there is {', '.join(known) or 'none'}): {what}"
