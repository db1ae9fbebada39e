"""p2psip.plugins: topologies are found by entry point; docs/topologies.md names what one has to have, and no more."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2psip import plugins
from p2psip.base.errors import LocalMisuse
from p2psip.reload.topology import actions
from p2psip.reload.topology.plugin import Topology, TopologyPlugin
from p2psip.sim.simulated_overlay import simulated_configuration

PAGE = (Path(__file__).parents[2] / "docs/topologies.md").read_text()

MODULE = """
class Plugin:
    name = {name!r}

    def obstacles(self, configuration):
        return ["no Node-IDs of 16 bytes"] if configuration.node_id_length == 16 else []

PLUGIN = Plugin()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Installs a package with the entry point that the page shows, and says its name; the plug-in may have another."""
    (entry,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    group, (name, value) = re.findall(r'entry-points\."(.*)"\]', entry)[0], re.findall(r'(\S+) = "(.*)"', entry)[0]

    def install(called: str = name) -> str:
        module = value.partition(":")[0]
        (tmp_path / f"{module}.py").write_text(MODULE.format(name=called))
        described = tmp_path / f"{module}-1.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        (described / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)
        plugins._installed.cache_clear()
        return str(name)

    yield install
    plugins._installed.cache_clear()


def test_a_package_brings_its_topology(install: Callable[..., str]) -> None:
    """Whoever asks for it by its name gets it, and those that were there are there."""
    before = plugins.topology_names()
    name = install()
    assert set(plugins.topology_names()) == {*before, name}
    assert plugins.topology(name).name == name
    configuration = simulated_configuration([], topology_plugin=name)
    assert plugins.obstacles(configuration) == ["no Node-IDs of 16 bytes"]
    assert plugins.obstacles(simulated_configuration([], topology_plugin=name, node_id_length=20, **NOBODY)) == []


NOBODY: dict[str, object] = {"configuration_signers": frozenset(), "kind_signers": frozenset()}


def test_one_that_is_not_installed_is_refused_in_one_line() -> None:
    why = r"KADEMLIA is not installed here \(there is .*CHORD-RELOAD.*\): install"
    with pytest.raises(LocalMisuse, match=why) as error:
        plugins.topology("KADEMLIA")
    assert "\n" not in str(error.value)


def test_an_entry_point_and_its_plug_in_have_one_name(install: Callable[..., str]) -> None:
    name = install("ANOTHER")
    with pytest.raises(LocalMisuse, match="gives a plug-in named ANOTHER"):
        plugins.topology(name)


def test_chord_does_node_ids_of_128_bits() -> None:
    """10.2."""
    configuration = simulated_configuration([], node_id_length=20, **NOBODY)
    assert plugins.obstacles(configuration) == ["Node-IDs of 20 bytes"]


# The page


def members(protocol: type) -> set[str]:
    """What a protocol asks for."""
    return {name for name in vars(protocol) if not name.startswith("_")}


def named(text: str) -> set[str]:
    """The code in running text, as far as it is one name."""
    return set(re.findall(r"`([A-Za-z_]+)`", text))


def test_the_page_names_all_that_a_topology_has_and_nothing_else() -> None:
    page = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    described, questions, wanted = re.split(
        r"\*\*The topology\*\*|What it wants done,", page.split("## What you get")[0]
    )
    kinds = {name for name, kind in inspect.getmembers(actions, inspect.isclass) if issubclass(kind, actions.Action)}
    assert members(TopologyPlugin) <= named(described)
    assert named(questions) == members(Topology) | {"now"}
    assert named(wanted) == kinds - {"Action"} | {"drain", "key"}
