"""Several submissions carried there by one command: laid out of one archive, then each for itself.

Each of them has its folder, its lock, its call of sbatch, its exit code and its answer, as if it came alone; what is
shared is the way there and the unpacking. Whoever is refused, or fails, keeps nobody else from being submitted, and a
command that dies in the middle has answered for those whose answers came.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import msgspec

from hub.jobs.backends import far_side
from hub.jobs.backends.staging import Laid, text
from hub.jobs.shell import Done
from hub.jobs.ssh import command


class Member(msgspec.Struct, frozen=True):
    """One submission of a batch: the run, and the options for sbatch."""

    job: str
    run: int
    options: Sequence[str]


def folder_in(job: str, run: int) -> str:
    """Where a run's folder lies in the archive of a batch; it holds the mark of a whole one, too."""
    return f"{job}/{run}"


def marked_whole(laid: Laid) -> Laid:
    """A run's folder with the mark that it is complete: it gets its name only when all of the archive is unpacked."""
    return Laid([*laid.contents, text("staged", "")], laid.folders)


def submit(root: str, members: Sequence[Member], *, nonce: str, mark: str, bundle: str) -> str:
    """Lay the folders and call sbatch for each, as `far_side.submit` would for one.

    `bundle` is a compressed archive in base64, with a folder for each, that holds `staged`. Behind what a member says
    on each of both streams comes a line with the mark, which nobody can know, its number, and on the first its exit
    code.
    """
    # By the first one's name, so that it is cleared away with it if the command dies here.
    stage = shlex.quote(f"{root}/incoming/{members[0].job}.{members[0].run}.{nonce}")
    calls = "\n".join(
        command(
            [
                "submit", str(at), far_side.folder_of(root, each.job, each.run), folder_in(each.job, each.run),
                *far_side.sbatch(root, each.job, each.run, each.options),
            ]
        )
        for at, each in enumerate(members)
    )  # fmt: skip
    # Each job's folder is renamed as a whole, all of them by one process; whose folder is there already, as that of a
    # job that runs again, is laid alone.
    return f"""umask 077
r={shlex.quote(root)}
t={stage}
whole=
mkdir -p "$t" "$r/events" "$r/jobs"
base64 -d <<'~' | tar -xzf - -C "$t" && whole=1
{bundle}
~
[ -z "$whole" ] || mv "$t"/* "$r/jobs/" 2>/dev/null
{far_side.CALL}lay() {{
    [ -n "$whole" ] && mkdir -p "${{d%/*}}" && mv -T "$t/$1" "$d" 2>/dev/null || [ -e "$d/staged" ]
}}
one() {{
    d=$1
    [ -e "$d/staged" ] || lay "$2" || return {far_side.NOT_STAGED}
    shift 2
    call "$@"
}}
submit() {{
    at=$1
    shift
    one "$@"
    said $?
}}
said() {{
    printf '\\n%s %d %d\\n' {mark} "$at" "$1"
    printf '\\n%s %d 0\\n' {mark} "$at" >&2
}}
at={len(members)}  # nobody's: what stands before
said 0
{calls}
rm -rf "$t"
"""


def answers(done: Done, mark: str, count: int) -> list[Done]:
    """What each said and how it ended, up to the first of whom nothing was heard."""
    out, err = marked(done.out, mark), marked(done.err, mark)
    found: list[Done] = []
    for at in range(count):
        if at not in out:
            break
        said, code = out[at]
        found.append(Done(code, said, err.get(at, (b"", 0))[0]))
    return found


def marked(stream: bytes, mark: str) -> dict[int, tuple[bytes, int]]:
    """What stands before each line with the mark, by the member's number, and the code in that line."""
    found: dict[int, tuple[bytes, int]] = {}
    begins = 0
    for line in re.finditer(rb"\n%s (\d+) (\d+)\n" % mark.encode(), stream):
        found[int(line[1])] = (stream[begins : line.start()], int(line[2]))
        begins = line.end()
    return found
