"""The sandbox of a local job: bubblewrap's argument list, and whether bubblewrap works on this machine.

Inside there is a read-only system, the job's own folder under the same path as outside, a private /tmp, no network
unless it was asked for, and no view of other processes. The hub's data, home folders and sockets are not there at all.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Only what programs need of /etc: under root even the shadow file would be readable.
ETC = (
    "alternatives",
    "ca-certificates",
    "fonts",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "pki",
    "profile",
    "protocols",
    "R",
    "services",
    "ssl",
    "timezone",
    "terminfo",
)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/sys/devices/system/cpu", "/nix/store")


def python_folders() -> list[Path]:
    """Where the interpreter that runs the hub lives: jobs use its Python and libraries."""
    executable = Path(sys.executable)
    folders = {Path(sys.prefix), Path(sys.base_prefix), executable.resolve().parents[1]}
    if executable.is_symlink():
        folders.add((executable.parent / executable.readlink()).parents[1])
    return sorted(folder for folder in folders if folder.is_dir() and len(folder.parts) > 2)


def wrapper(
    *,
    cwd: Path,
    work: Path,
    temporary: Path,
    shared_memory: Path,
    read_only: Sequence[Path] = (),
    network: bool = False,
) -> list[str]:
    """The argument list to put before a job's own."""
    argv = [_bwrap(), "--unshare-user-try", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    if not network:
        argv.append("--unshare-net")
    argv += ["--die-with-parent", "--new-session", "--hostname", "job", "--proc", "/proc", "--dev", "/dev"]
    for path in SYSTEM:
        argv += ["--ro-bind-try", path, path]
    names = (*ETC, "resolv.conf") if network else ETC
    for name in names:
        argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    argv += ["--bind", str(temporary), "/tmp"]  # noqa: S108  (the job's /tmp, not ours)
    # Both lie on the disk that is watched, so that neither can fill the machine's memory unseen.
    argv += ["--bind", str(shared_memory), "/dev/shm"]  # noqa: S108
    for folder in (*python_folders(), *read_only):
        argv += ["--ro-bind", str(folder), str(folder)]
    argv += ["--bind", str(work), str(work), "--chdir", str(cwd)]
    # What is left writable of the scaffold would be memory.
    return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


@functools.cache
def works() -> bool:
    """Whether bubblewrap is here and may make its namespaces."""
    if shutil.which("bwrap") is None:
        return False
    argv = [_bwrap(), "--unshare-all", "--unshare-user-try", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    try:
        done = subprocess.run([*argv, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _bwrap() -> str:
    return os.fspath(shutil.which("bwrap") or "bwrap")
