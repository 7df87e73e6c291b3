"""Commands of a login node that do what they do, and now and then cut the line before or after.

For each of the steps we take there, a script that looks for `$HOME/cut/NAME.before` or `.after`, takes it away, and
kills the sshd it hangs on; whatever it was called for, it does. On a real Slurm `sbatch` is the fake one's, as far as
it goes wrong, and the real one as far as it accepts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.real import fake_slurm
from tests.real.sshd_box import SshdBox

# What the far side calls, and what of the scheduler; `sh` itself stands for whatever is in between.
STEPS = ("mkdir", "base64", "tar", "mv", "cat", "ln", "find", "wc", "tail", "head")
ASKED = ("sbatch", "squeue", "sacct", "scancel")
SHIM = """#!/bin/sh
f=$HOME/cut/{name}
cut() {{
    p=$PPID
    while [ "$p" -gt 1 ]; do
        read -r n < "/proc/$p/comm" || return 0
        if [ "$n" = sshd ]; then
            /usr/bin/mv "$f.$1" "$HOME/cut/.taken.$$" 2>/dev/null && kill -9 "$p"
            return 0
        fi
        read -r s < "/proc/$p/stat"; s=${{s##*) }}; s=${{s#* }}; p=${{s%% *}}
    done
}}
[ -e "$f.before" ] && cut before
[ -e "$f.after" ] || exec {real} "$@"
{real} "$@"
c=$?
cut after
exit "$c"
"""
ACCEPTING = """#!/usr/bin/env python3
import importlib.machinery, importlib.util, subprocess, sys
loader = importlib.machinery.SourceFileLoader("fake_slurm", {fake!r})
fake = importlib.util.module_from_spec(importlib.util.spec_from_loader("fake_slurm", loader))
loader.exec_module(fake)

def accept(argv, plan):
    done = subprocess.run(["/usr/bin/sbatch", *argv], capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip()

fake.accept = accept
sys.exit(fake.sbatch(sys.argv[1:]))
"""


def shims(box: SshdBox, real: Path | None) -> Path:
    """The folder of these commands. `real` holds the fake scheduler's; without, the machine's own are called."""
    folder = box.base / "shims"
    folder.mkdir(exist_ok=True)
    box.sh("mkdir -p cut")
    accepting = folder / ".sbatch"
    if real is None:
        fake = folder / "fake_slurm.py"
        shutil.copy(fake_slurm.__file__, fake)
        accepting.write_text(ACCEPTING.format(fake=str(fake)))
        accepting.chmod(0o755)
    for name in (*STEPS, *ASKED):
        known = str(real / name) if real is not None and name in ASKED else f"/usr/bin/{name}"
        if real is None and name == "sbatch":
            known = str(accepting)
        (folder / name).write_text(SHIM.format(name=name, real=known))
        (folder / name).chmod(0o755)
    return folder


def cut_at(box: SshdBox, name: str, when: str) -> None:
    """The next call of this command loses its line, `before` or `after` it has done its work."""
    path = box.home / "cut" / f"{name}.{when}"
    path.touch()
    os.chown(path, box.uid, -1)


def armed(box: SshdBox) -> Iterable[str]:
    """Cuts that nobody came by yet."""
    return sorted(each.name for each in (box.home / "cut").glob("[a-z]*"))
