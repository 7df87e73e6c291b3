"""Clearing away what ended jobs left on a cluster: their folders, and what was laid for them beside.

A folder is removed only when it bears the mark that the hub wrote into it, with this job's id and this run's number.
It is first given another name, so that half a folder is never taken for a whole one; links are removed and never
followed. What does not look like ours is left as it is and counted.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

import msgspec

from hub.jobs.port import Sweep

AT_A_TIME = 50
SECONDS = 300.0

Fate = Literal["swept", "gone", "strange", "left"]

_SWEEP = r"""
umask 077
away() { rm -rf "$1" 2>/dev/null && return; chmod -R u+rwX "$1" 2>/dev/null; rm -rf "$1" 2>/dev/null; }
ours() {
    [ -f "$d/run.sh" ] && [ ! -L "$d/run.sh" ] && head -n 2 "$d/run.sh" | grep -Fqx "$m" && return
    # A run that was forbidden before anything was laid.
    [ "$(ls -A "$d")" = run.lock ] && [ ! -L "$d/run.lock" ] || return
    k=$d/run.lock
    [ ! -d "$k" ] || k=$k/pod  # as it lies on the volume of a Kubernetes cluster
    [ -f "$k" ] && [ ! -L "$k" ] && [ "$(head -c 7 "$k")" = nobody ]
}
l=
[ ! -L @root@/jobs ] || l=1
cd @root@/jobs 2>/dev/null || cd / || exit 1
while read -r j n; do
    d=$j/$n
    g=$j/.gone.$n
    m="# Made by a Collegium hub; its job is $j, run $n."
    if [ -n "$l" ] || [ -L "$j" ] || [ -L "$d" ] || [ -L "$g" ]; then echo "@ $j $n strange 0"; continue; fi
    if [ -e "$d" ]; then
        if ! ours; then echo "@ $j $n strange 0"; continue; fi
        [ ! -e "$g" ] || away "$g"
        mv "$d" "$g" || { echo "@ $j $n left 0"; continue; }
    fi
    w=gone
    s=0
    if [ -d "$g" ]; then
        s=$(du -sk "$g" 2>/dev/null | cut -f 1)
        away "$g" || { echo "@ $j $n left 0"; continue; }
        w=swept
    fi
    # Folders of submissions that were cut off while they were laid.
    for t in "$d".???????????? "$d".???????????????? @root@/incoming/"$j.$n".????????????????; do
        [ ! -d "$t" ] || [ -L "$t" ] || away "$t"
    done
    rm -f @root@/incoming/"$j.$n".tgz @root@/incoming/"$j.$n".tgz.part
    rm -f @root@/events/"$j.$n".* @root@/events/."$j.$n".*
    rmdir "$j" 2>/dev/null
    echo "@ $j $n $w ${s:-0}"
done <<'~'
@runs@
~
:
"""


class Removed(msgspec.Struct, frozen=True):
    """What became of one run's folder: removed, not there any more, not ours by its look, or not to be removed."""

    job: str
    run: int
    fate: Fate
    size_bytes: int = 0  # on its disk, in whole blocks


def sweep(root: str, runs: Sequence[tuple[str, int]]) -> str:
    """One script for all of these runs; what cannot stand in a path of ours is not asked for."""
    asked = "\n".join(f"{job} {run}" for job, run in runs if job.replace("_", "").isalnum() and job.isascii())
    return _SWEEP.replace("@root@", shlex.quote(root)).replace("@runs@", asked)


def removed(out: str) -> list[Removed]:
    """What a sweep tells; a line that broke off is none."""
    found = []
    for line in out.splitlines():
        words = line.split(" ")
        if len(words) == 5 and words[0] == "@" and words[2].isdigit() and words[4].isdigit():
            fate: Fate = words[3] if words[3] in ("swept", "gone", "strange") else "left"  # type: ignore[assignment]
            found.append(Removed(words[1], int(words[2]), fate, int(words[4]) * 1024))
    return found


def summed(due: Sequence[tuple[str, int]], found: Sequence[Removed]) -> Sweep:
    """A sweep in one line; a job of which a folder could not be removed, or was not come to, is due again."""
    told = {(each.job, each.run): each.fate for each in found}
    over = [job for job, last in due if all(told.get((job, run), "left") != "left" for run in range(1, last + 1))]
    swept = [each for each in found if each.fate == "swept"]
    return Sweep(
        jobs=tuple(over),
        folders=len(swept),
        size_bytes=sum(each.size_bytes for each in swept),
        strange=sum(each.fate == "strange" for each in found),
        left=sum(each.fate == "left" for each in found),
    )


def tidy(root: str) -> str:
    """The folders around them go when nothing is left in them."""
    quoted = shlex.quote(root)
    return f"cd / && rmdir {quoted}/jobs {quoted}/incoming {quoted}/events {quoted} 2>/dev/null; :"
