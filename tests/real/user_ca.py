"""A site's authority for certificates of people, as `ssh-keygen -s` is one, and an sshd that trusts it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.real.sshd_box import SshdBox


class UserCa:
    """Signs public keys for a box that lets in whoever shows a certificate of it."""

    def __init__(self, box: SshdBox, name: str = "user_ca") -> None:
        self.box, self.name = box, name
        self.key = box.new_key(name)
        self.revoked = box.base / "revoked"
        self.revoked.touch(mode=0o644)

    def trusted(self) -> UserCa:
        """The box trusts it from now on; keys alone still open it where they are listed."""
        self.box.more = [f"TrustedUserCAKeys {self.key}.pub", f"RevokedKeys {self.revoked}"]
        self.box.restart()
        return self

    def sign(self, public: str, *options: str, login: str | None = None, valid: str = "-5m:+12h") -> str:
        """A certificate for a public key, good for a time as `ssh-keygen -V` says it."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "key.pub"
            place.write_text(public + "\n")
            names = () if login == "" else ("-n", login or self.box.user)
            words = ["ssh-keygen", "-q", "-s", str(self.key), "-I", "ana at the site", *names, "-V", valid, *options]
            subprocess.run([*words, str(place)], check=True, capture_output=True)
            return (Path(folder) / "key-cert.pub").read_text()

    def revoke(self, certificate: str) -> None:
        """The box refuses it from now on, as `RevokedKeys` does."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "key-cert.pub"
            place.write_text(certificate)
            subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(self.revoked), str(place)], check=True)
        self.revoked.chmod(0o644)
