"""A real sshd on loopback for one made-up person: own host key, own list of keys, and a home that goes with it."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pytest

from tests.databases import free_port
from tests.waiting import wait_for

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.3).close()
    except OSError:
        return False
    return True


class Services:
    """Daemons in the foreground, each with a log file, ended in the opposite order, and the folder they live in."""

    def __init__(self, prefix: str) -> None:
        # Other users go through it, so it cannot lie in the test run's own folder, which is closed to them.
        self.base = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        self.base.chmod(0o755)
        (self.base / "log").mkdir()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(self, name: str, argv: list[object], env: Mapping[str, str] | None = None) -> None:
        with (self.base / "log" / f"{name}.out").open("ab") as said:
            self.running[name] = subprocess.Popen(
                [str(each) for each in argv],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    def end(self, name: str, *, hard: bool = False) -> None:
        process = self.running.pop(name)
        if hard:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        for name in reversed(list(self.running)):
            self.end(name)

    def close(self) -> None:
        self.end_all()
        shutil.rmtree(self.base, ignore_errors=True)


class SshdBox(Services):
    """Somebody who can be logged in as, by key only, through OpenSSH's own limits."""

    def __init__(self, env: Mapping[str, str] | None = None, prefix: str = "collegium-sshd-") -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can let somebody else log in")
        if SSHD is None:
            pytest.skip("openssh-server is not installed")
        super().__init__(prefix)
        self.env = dict(env or {})
        self.more: list[str] = []  # lines of its configuration beside the usual ones
        self.port = free_port()
        self.user = f"hpc{secrets.token_hex(4)}"
        home = self.base / "home"
        # `*` and not `!`: without PAM, sshd takes the latter for a locked account.
        made = [
            "useradd",
            "--create-home",
            "--home-dir",
            str(home),
            "--shell",
            "/bin/bash",
            "--password",
            "*",
            self.user,
        ]
        subprocess.run(made, check=True, capture_output=True)
        self.home = home
        self.uid = pwd.getpwnam(self.user).pw_uid
        self.keys = self.base / "authorized_keys"
        self.keys.touch(mode=0o644)
        self.client_key = self.new_key("client")
        self.allow(self.client_key.with_suffix(".pub").read_text())
        self.new_host_key()

    def __enter__(self) -> SshdBox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def new_key(self, name: str) -> Path:
        path = self.base / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
        return path

    def allow(self, line: str) -> None:
        with self.keys.open("a") as file:
            file.write(line.rstrip("\n") + "\n")

    def new_host_key(self) -> None:
        """Start it, again if need be, under a host key nobody has seen."""
        for name in ("host", "host.pub"):
            (self.base / name).unlink(missing_ok=True)
        self.new_key("host")
        self.restart()

    def restart(self) -> None:
        if "sshd" in self.running:
            self.end("sshd")
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.base / "sshd_config"
        lines = [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            f"HostKey {self.base}/host",
            f"PidFile {self.base}/sshd.pid",
            f"AuthorizedKeysFile {self.keys}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin no",
            f"AllowUsers {self.user}",
            "UseDNS no",
            "Subsystem sftp internal-sftp",
            *self.more,
            *([f"SetEnv {' '.join(f'{name}={value}' for name, value in self.env.items())}"] if self.env else []),
        ]
        config.write_text("\n".join(lines) + "\n")
        self.spawn("sshd", [SSHD, "-D", "-e", "-f", config])
        wait_for(lambda: answers(self.port), 20, "sshd listening")

    def cut(self) -> None:
        """End every connection at once, as a router that forgets them would; new ones are accepted."""
        self.go_away()
        self.restart()

    def go_away(self) -> None:
        """End every connection at once, and accept no other until `restart`."""
        sessions = sessions_of(self.running["sshd"].pid)
        self.end("sshd", hard=True)
        for pid in sessions:
            subprocess.run(["kill", "-KILL", str(pid)], check=False)

    @property
    def host_key(self) -> str:
        """The public host key, as `known_hosts` names it without the host."""
        return " ".join((self.base / "host.pub").read_text().split()[:2])

    def sh(self, command: str, *, check: bool = True) -> str:
        """What a command says that is run as this person, without ssh."""
        done = subprocess.run(
            ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "sh", "-c", command],
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "USER": self.user, **self.env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def close(self) -> None:
        super().close()
        subprocess.run(["userdel", "--force", self.user], check=False, capture_output=True)


def sessions_of(pid: int) -> list[int]:
    """The sessions of a listener: its children, and theirs."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that ends just now has none any more
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                found += [child, *sessions_of(child)]
    return found
