"""Tools come by entry point: what is installed is there, what cannot be loaded is told and stops nothing."""

from __future__ import annotations

import types
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from hub import app, doctor
from hub.core.context import Actor
from hub.core.errors import Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.orchestrator import plugins, tools
from tests.conftest import Perform

BROKEN = "raise RuntimeError('no licence file')\n"
LEAVING = "import sys; sys.exit('I want nothing of this')\n"
GOOD = """
from hub.orchestrator.tools import Progress

class Echo:
    def lacks(self, node, scope): return []
    def begin(self, node, run, house): return Progress(state="SUCCEEDED", words="echo")
    def look(self, node, progress, house): return progress

TOOL = Echo()
KIND = Echo
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, each a module and its entry points."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = dict(tools.TOOLS)
    yield folder
    tools.TOOLS.clear()
    tools.TOOLS.update(before)
    plugins.FAILED.clear()
    plugins.installed.cache_clear()


def install(folder: Path, module: str, text: str, entry: str) -> None:
    (folder / f"{module}.py").write_text(text)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[collegium.tools]\n{entry}\n")
    plugins.installed.cache_clear()


def test_an_installed_package_plugs_its_tool_in_and_an_experiment_runs_it(
    packages: Path, house: House, ana: Actor, perform: Perform
) -> None:
    install(packages, "plug_echo", GOOD, "echo = plug_echo:TOOL")
    app.register_features()
    asked = perform(ana, "run", tool="experiment_orchestrator", dag=[{"tool": "echo", "action": "say"}])
    assert asked["state"] == "RUNNING"
    assert plugins.told() == (True, f"tools that are there: {', '.join(sorted(tools.TOOLS))}")
    assert "echo" in tools.TOOLS


@pytest.mark.parametrize(
    ("text", "entry", "said"),
    [
        (BROKEN, "broken = MODULE:TOOL", "RuntimeError: no licence file"),
        (LEAVING, "leaving = MODULE:TOOL", "SystemExit: I want nothing of this"),
        (GOOD, "lost = MODULE:NOT_THERE", "AttributeError"),
        (GOOD, "kind = MODULE:KIND", "TypeError: it must be an object with lacks, begin, look"),
        (GOOD, "bad/name = MODULE:TOOL", "ValueError: a tool's name has letters"),
        (GOOD, "distributed_collaboration = MODULE:TOOL", "ValueError: there is a tool of this name already"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_told_and_stops_nothing(
    packages: Path, house: House, ana: Actor, perform: Perform, tmp_path: Path, text: str, entry: str, said: str
) -> None:
    module = f"plug_{entry.partition(' ')[0].replace('/', '_')}"
    install(packages, module, text, entry.replace("MODULE", module))
    own = tools.TOOLS["distributed_collaboration"]
    app.register_features()
    name = entry.partition(" ")[0]
    assert said in plugins.FAILED[name]
    assert tools.TOOLS["distributed_collaboration"] is own
    app.build(Settings(data=tmp_path / "data2", port=8401), clock=house.clock, bus=house.bus).close()
    parts = {part.name: part for part in doctor.examine(Settings(data=tmp_path / "data3", port=8402))}
    told = parts["experiment tools"]
    assert (told.holds, told.is_needed) == (False, False)
    assert name in told.words
    assert said in told.words
    if "/" not in name and name != "distributed_collaboration":
        with pytest.raises(Unavailable) as refused:
            perform(ana, "run", tool="experiment_orchestrator", dag=[{"tool": name, "action": "x"}])
        assert "it is installed, but could not be loaded" in refused.value.errors[0]


def test_the_bundled_tools_come_by_the_same_door() -> None:
    named = {each.name: each.value for each in metadata.entry_points(group=plugins.GROUP)}
    assert named.get("data") == "hub.orchestrator.data_tool:TOOL", "run `make setup`: the checkout is installed anew"
    assert named.get("ml_ai_augmentation") == "hub.orchestrator.ml_tool:TOOL"
    app.register_features()
    assert {"data", "ml_ai_augmentation"} <= tools.TOOLS.keys()
    assert not isinstance(tools.TOOLS["data"], types.ModuleType)
