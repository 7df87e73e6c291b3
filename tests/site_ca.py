"""A site's authority for certificates of people, whose hours are those of a hub's clock that stands still."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path


class SiteCa:
    """`ssh-keygen -s`, with a key of its own."""

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self.folder, self.now = folder, now
        folder.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "ca")], check=True)

    def sign(self, public: str, login: str, *, hours: float = 12, serial: int = 1) -> str:
        """A certificate for a public key, good from now on."""
        place = self.folder / "key.pub"
        place.write_text(public + "\n")
        ends = self.now + dt.timedelta(hours=hours)
        times = f"{self.now:%Y%m%d%H%M%S}Z:{ends:%Y%m%d%H%M%S}Z"
        words = ["ssh-keygen", "-q", "-s", str(self.folder / "ca"), "-I", "signed today", "-n", login, "-V", times]
        subprocess.run([*words, "-z", str(serial), str(place)], check=True, capture_output=True)
        return (self.folder / "key-cert.pub").read_text()
