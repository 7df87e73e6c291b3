"""The build's own check: a wheel without the bundled browser libraries would install and then show dead pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = Path("static/vendor/LICENCES.txt")


class Bundled(BuildHookInterface):  # type: ignore[misc]
    """Refuses to build without them. An editable installation is the checkout itself, where `make setup` makes them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable" and not (Path(self.root) / VENDOR).exists():
            raise FileNotFoundError(f"{VENDOR} is missing: run `make setup` first, which bundles the browser libraries")
