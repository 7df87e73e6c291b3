"""What is run inside the pods of a cluster: POSIX shell, made from quoted values only.

A run has a folder in the workspace volume, `HUB/jobs/JOB/RUN/`; to its own pod that folder is all there is, as
`/collegium`. A porter's pod sees the whole volume there.

    run.sh        what the pod starts: the run's lock, its start, the program, its end
    given/        script, manifest and setup; work/ is where the program starts
    staged        the folder is complete; it got its name by one rename
    job.uid       the Job that was made for it, once that is known
    run.lock/     made by the one pod that ran it, which wrote its uid to run.lock/pod, or by whoever forbids it
    log           stdout and stderr, byte for byte
    end           how it ended, first hand; written by rename, and as the container's last words

An array has an `array` file, which holds how many tasks it has; each has a lock and an end of its own, run.lock.INDEX
and end.INDEX, and what it says is work/logs/NUMBER.log.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from hub.jobs.backends.kubernetes_rules import MOUNT
from hub.jobs.backends.waited import WAITED

DUPLICATE = 97
DUPLICATE_SAID = "duplicate"
NOT_STAGED = 70
NOBODY = "nobody"
LOG_PIECE_BYTES = 1 << 20
# The kernel's own mark of the most memory that a container held counts what it keeps of files it has read or written,
# which a program neither asked for nor would miss. So the wrapper looks by itself what its programs held, at first each
# second, then so often; by each program's own mark, so that nothing is missed between two looks.
LOOK_SECONDS = 5
# A program that was shorter was not looked at often enough: of it the kernel's mark is told.
LOOKED_AT_SECONDS = 20.0
# What the image that carries files is asked for.
NEEDED_PROGRAMS = ("tar", "gzip", "find", "stat", "head", "tail", "mkdir", "mv", "wc", "dirname", "grep", "du", "cut")

_RUN = r"""#!/bin/sh
# Made by a Collegium hub; its job is {job}, run {run}.
d={mount}
umask 077
last=/dev/termination-log
x=
log=$d/log
# Its container's own control group, in the first version of them or the second.
g=/sys/fs/cgroup
{task}
if ! mkdir "$d/run.lock$x" 2>/dev/null; then
    echo '{duplicate_said}' > "$last"
    echo '[collegium] this run was started before, by another pod; it is not run again' >&2
    exit {duplicate}
fi
printf '%s\n' "$COLLEGIUM_POD" > "$d/run.lock$x/pod"
s=$(date +%s)
printf '%s\n' "$s" > "$d/started$x"
echo '[collegium] what this job says is kept in its workspace and by its hub'
got=
late=
p=
kill_later() {{ (sleep {grace}; kill -s KILL "$p") 2>/dev/null & }}
pass() {{ got=$1; [ -z "$p" ] || {{ kill -s TERM "$p" 2>/dev/null; kill_later; }}; }}
trap 'hit=1; pass TERM' TERM INT HUP
trap 'hit=1; late=1; pass TIME' USR1
(
    trap - TERM INT HUP USR1
    cd "$d"/work{below} || exit 96
{variables}
    exec {command}
) </dev/null >>"$log" 2>&1 & p=$!
(sleep {wall}; kill -s USR1 $$) 2>/dev/null & t=$!
(
    m=0
    n=1
    while :; do
        k=0
        for v in $(sed -n -e 's/^VmHWM:[^0-9]*\([0-9]*\) kB.*/\1/p' -e 's/^shmem \([0-9]*\)[0-9][0-9][0-9]$/\1/p' \
            /proc/[0-9]*/status "$g/memory.stat" "$g/memory/memory.stat"); do k=$((k + v)); done
        [ "$k" -le "$m" ] || {{ m=$k; printf '%s\n' "$m" > "$d/.held$x"; }}
        sleep "$n"
        [ "$n" -ge {look} ] || n=$((n + 1))
    done
) >/dev/null 2>&1 & h=$!
[ -z "$got" ] || pass "$got"
{waited}kill "$t" "$h" 2>/dev/null
times > "$d/.times$x" 2>/dev/null
oom=$(sed -n 's/^oom_kill //p' "$g/memory.events" "$g/memory/memory.oom_control" 2>/dev/null)
peak=$(cat "$g/memory.peak" "$g/memory/memory.max_usage_in_bytes" 2>/dev/null)
used=$(sed -n 's/^usage_usec \(.*\)/\1000/p' "$g/cpu.stat" 2>/dev/null; cat "$g/cpuacct/cpuacct.usage" 2>/dev/null)
# The container's last words first: the workspace may be full.
{{
    printf 'pod %s\ncode %s\ngot %s\nlate %s\n' "$COLLEGIUM_POD" "$c" "$got" "$late"
    printf 'start %s\nend %s\noom %s\npeak %s\n' "$s" "$(date +%s)" "$oom" "$peak"
    printf 'used %s\nheld %s\n' "$used" "$(cat "$d/.held$x" 2>/dev/null)"
    printf 'times %s\nlog %s\n' "$(tail -n 1 "$d/.times$x")" "$(wc -c < "$log")"
}} > "$last"
cp "$last" "$d/.end$x" && mv "$d/.end$x" "$d/end$x"
exit "$c"
"""

# The cluster counts tasks from nought and tells each its place; what it is called stands there.
_TASK = r"""set -- {numbers}
shift "$JOB_COMPLETION_INDEX"
x=.$JOB_COMPLETION_INDEX
mkdir -p "$d/work/logs"
log=$d/work/logs/$1.log
export SLURM_ARRAY_TASK_ID="$1" SLURM_ARRAY_TASK_COUNT={count} SLURM_ARRAY_TASK_MIN={first} SLURM_ARRAY_TASK_MAX={last}
set --"""


def command(argv: Sequence[str]) -> str:
    """A command line in which every word is one argument, whatever is in it. Raises ValueError for a NUL."""
    if any("\0" in word for word in argv):
        raise ValueError("a word with a NUL cannot be an argument of a command")
    return shlex.join(argv)


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a run starts: a command, what is set for it, where it begins, and for how long it may run."""

    command: Sequence[str]
    variables: Mapping[str, str]
    wall_seconds: int
    grace_seconds: int
    workdir: str = ""
    # Folders of programs that come before those of the image.
    path: Sequence[str] = ()
    # The numbers of an array's tasks, in the order in which the cluster counts them.
    tasks: Sequence[int] = ()


def run_script(job: str, run: int, program: Program) -> str:
    """The text of `run.sh`. Raises ValueError for a variable that no shell can set."""
    for name, value in program.variables.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in value:
            raise ValueError(f"{name[:80]!r} cannot be a variable of a job")
    lines = [f"    export {name}={shlex.quote(value)}" for name, value in program.variables.items()]
    if program.path:
        lines.append(f"    export PATH={shlex.quote(':'.join(program.path))}:$PATH")
    return _RUN.format(
        waited=WAITED,
        task=_task(program.tasks) if program.tasks else ":",
        job=job,
        run=run,
        mount=MOUNT,
        duplicate=DUPLICATE,
        duplicate_said=DUPLICATE_SAID,
        grace=program.grace_seconds,
        wall=program.wall_seconds,
        look=LOOK_SECONDS,
        below=shlex.quote(f"/{program.workdir}") if program.workdir else "",
        variables="\n".join(lines) or "    :",
        command=command(program.command),
    )


def _task(tasks: Sequence[int]) -> str:
    numbers = " ".join(str(each) for each in tasks)
    return _TASK.format(numbers=numbers, count=len(tasks), first=min(tasks), last=max(tasks))


# --- by the porter, which sees the whole volume


def lay(folder: str, nonce: str, size: int, before: str = "") -> str:
    """Lay a run's folder out of a compressed archive of `size` bytes on stdin, unless that was done.

    What an earlier run of the job said, in the folder `before`, stands first in its log.

    Nothing may wait for the end of stdin: it has none, over the API server's older protocol.
    """
    return f"""umask 077
d={shlex.quote(f"{MOUNT}/{folder}")}
s="$d".{shlex.quote(nonce)}
if [ -e "$d/staged" ]; then head -c {size} >/dev/null; exit 0; fi
rm -rf "$s"; mkdir -p "$s" || exit {NOT_STAGED}
head -c {size} | gzip -dc | tar -xf - -C "$s" || {{ rm -rf "$s"; exit {NOT_STAGED}; }}
{_said_before(before)}[ -s "$s/run.sh" ] && mkdir -p "$s/work" && : > "$s/staged" || exit {NOT_STAGED}
mv -T "$s" "$d" 2>/dev/null || {{ rm -rf "$s"; [ -e "$d/staged" ] || exit {NOT_STAGED}; }}
"""


def _said_before(before: str) -> str:
    if not before:
        return ""
    log, number = shlex.quote(f"{MOUNT}/{before}/log"), int(before.rpartition("/")[2]) + 1
    said = f"{{ cat {log} && echo '== attempt {number} =='; }} > \"$s/log\""
    return f"if [ -f {log} ]; then {said} || exit {NOT_STAGED}; fi\n"


def try_out(folder: str, nonce: str) -> str:
    """See whether files can be laid below a folder, with the programs that it takes; prints what room is left there."""
    target = shlex.quote(f"{MOUNT}/{folder}/{nonce}")
    programs = " ".join(NEEDED_PROGRAMS)
    return f"""umask 077
for p in {programs}; do
    command -v "$p" >/dev/null || {{ echo "the image has no $p" >&2; exit 1; }}
done
mkdir -p {target} && echo written > {target}/file && cat {target}/file && rm -rf {target} || exit 1
df -Pk {MOUNT} 2>/dev/null | tail -n 1 | {{ read -r _ all _ free _ && echo "space $all $free"; }}
df -Pi {MOUNT} 2>/dev/null | tail -n 1 | {{ read -r _ all _ free _ && echo "files $all $free"; }}
:
"""


def note_uid(folder: str, uid: str) -> str:
    """Keep which Job was made for a run."""
    target = shlex.quote(f"{MOUNT}/{folder}")
    return f"cd {target} && printf '%s\\n' {shlex.quote(uid)} > .job.uid.$$ && mv .job.uid.$$ job.uid"


def forbid(folder: str) -> str:
    """Take a run's lock for nobody, so that no pod can ever run it; prints who has it then."""
    target = shlex.quote(f"{MOUNT}/{folder}")
    return f"""mkdir -p {target} && cd {target} || exit 1
who() {{
    if mkdir "$1" 2>/dev/null; then echo {NOBODY} > "$1/pod"; fi
    w=$(cat "$1/pod" 2>/dev/null)
    echo "${{w:-somebody}}"
}}
h=$(who run.lock)
# A job can write into its folder: it is not believed that it has any number of tasks.
n=$(head -c 5 array 2>/dev/null)
case $n in ''|*[!0-9]*|?????*) n=0;; esac
i=0
while [ "$i" -lt "$n" ]; do
    t=$(who "run.lock.$i")
    [ "$t" = {NOBODY} ] || h=$t
    i=$((i + 1))
done
echo "$h"
"""


def tell(folders: Sequence[str]) -> str:
    """What the folders of runs say of their beginnings and ends."""
    names = command(list(folders))
    return f"""cd {MOUNT} || exit 1
for d in {names}; do
    echo "@ $d"
    [ -e "$d/staged" ] && echo staged
    [ -s "$d/job.uid" ] && echo "uid $(cat "$d/job.uid")"
    [ -d "$d/run.lock" ] && echo "lock $(cat "$d/run.lock/pod" 2>/dev/null || echo somebody)"
    [ -e "$d/end" ] && cat "$d/end"
    [ -s "$d/array" ] || continue
    echo "array $(head -c 5 "$d/array")"
    for l in "$d"/run.lock.*; do
        [ -d "$l" ] && echo "task ${{l##*.}} $(cat "$l/pod" 2>/dev/null || echo somebody)"
    done
    for e in "$d"/end.*; do
        [ -f "$e" ] && echo "of ${{e##*.}}" && cat "$e"
    done
done
:
"""


def log_pieces(wanted: Sequence[tuple[str, int]]) -> str:
    """The next bytes of logs: for each (folder, offset) a line with how many follow, then the bytes."""
    asked = "\n".join(f"{folder} {offset}" for folder, offset in wanted)
    return f"""cd {MOUNT} || exit 1
while read -r d o; do
    n=$(wc -c < "$d/log" 2>/dev/null) || continue
    n=$((n - o))
    [ "$n" -gt 0 ] || continue
    [ "$n" -gt {LOG_PIECE_BYTES} ] && n={LOG_PIECE_BYTES}
    echo "@ $d $o $n"
    tail -c +$((o + 1)) "$d/log" | head -c "$n"
done <<'~'
{asked}
~
"""


def listing(folder: str, most: int) -> str:
    """Every regular file below work/ (`size seconds path`, NUL-ended), at most so many, then how many there are.

    Only what every small system has is used: neither `-printf` nor `head -z`. What a program locked is unlocked: it is
    the account's own, and would neither come home nor be cleared away.
    """
    each = 'for f; do printf "%s %s\\0" "$(stat -c "%s %Y" "$f")" "$f"; done'
    return f"""cd {shlex.quote(f"{MOUNT}/{folder}/work")} || exit 1
find . \\( -type d ! -perm -700 -o -type f ! -perm -400 \\) -exec chmod u+rwX {{}} ';' 2>/dev/null
n=$(find . -type f -exec printf . ';' 2>/dev/null | wc -c)
o=$(find . ! -type f ! -type d -exec printf . ';' 2>/dev/null | wc -c)
printf '%s %s\\0' "$n" "$o"
[ "$n" -gt {most} ] && exit 0
find . -type f -exec sh -c {shlex.quote(each)} sh {{}} +
"""


def pack(folder: str, paths: Sequence[str]) -> str:
    """These files as one archive, links never followed; what is gone by then is passed over."""
    target = shlex.quote(f"{MOUNT}/{folder}/work")
    return f"cd {target} || exit 1; tar -cf - -- {command([f'./{path}' for path in paths])}"


def one_file(folder: str, path: str, offset: int) -> str:
    """The bytes of one file from `offset`; a link on the way to it is refused."""
    shown = shlex.quote(f"./{path}")
    return f"""cd {shlex.quote(f"{MOUNT}/{folder}/work")} || exit 1
f={shown}
p=$f
while [ "$p" != . ]; do
    [ -L "$p" ] && exit 71
    p=$(dirname "$p")
done
[ -f "$f" ] || exit 72
tail -c +{offset + 1} "$f"
"""


def clear(folder: str, *, whole: bool) -> str:
    """Remove what was fetched; the small files that say how it ended stay unless `whole`."""
    target = shlex.quote(f"{MOUNT}/{folder}")
    return f"rm -rf {target}" if whole else f"cd {target} && rm -rf work given log"


# --- what the folders say, understood


class End(msgspec.Struct, frozen=True):
    """What the wrapper of a run wrote when its program had ended."""

    pod: str
    code: int
    got: str = ""  # TERM when it was told to end, TIME when its time was up
    late: bool = False
    start: float = 0.0
    end: float = 0.0
    oom: int = 0
    peak: int = 0
    cpu_seconds: float = 0.0
    log_bytes: int = 0


class Folder(msgspec.Struct, frozen=True):
    """One run's folder: whether it is laid, its Job, who holds its lock, and its end.

    Of an array: how many tasks it has, who holds the lock of each, and their ends, by the places of the tasks; then
    `holder` is one of those who hold one, `nobody` when that is so of all.
    """

    staged: bool = False
    uid: str = ""
    holder: str = ""
    end: End | None = None
    count: int = 0
    holders: Mapping[int, str] = {}
    ends: Mapping[int, End] = {}

    def of_task(self, place: int) -> Folder:
        """The same, of one task of an array."""
        holder = self.holders.get(place, NOBODY if self.holder == NOBODY else "")
        return Folder(self.staged, self.uid, holder, self.ends.get(place))


def end(text: str) -> End | None:
    """The wrapper's last words; None for anything else."""
    values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    try:
        return End(
            pod=values["pod"].strip(),
            code=int(values["code"]),
            got=values.get("got", "").strip(),
            late=values.get("late", "").strip() == "1",
            start=float(values.get("start") or 0),
            end=float(values.get("end") or 0),
            oom=_whole(values.get("oom", "")),
            peak=_peak(values),
            cpu_seconds=_whole(values.get("used", "")) / 1e9 or _cpu(values.get("times", "")),
            log_bytes=_whole(values.get("log", "")),
        )
    except (KeyError, ValueError):
        return None


def _whole(text: str) -> int:
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() else 0


def _peak(values: Mapping[str, str]) -> int:
    """The most memory that its programs held, in bytes; 0 where nobody looked."""
    most, held = _whole(values.get("peak", "")), _whole(values.get("held", "")) << 10
    seconds = float(values.get("end") or 0) - float(values.get("start") or 0)
    if not held or (most and seconds < LOOKED_AT_SECONDS):
        return most
    # What several programs share is counted for each, and the kernel counts it once.
    return min(most, held) if most else held


def _cpu(times: str) -> float:
    """`0m1.25s 0m0.10s`, as the shell's `times` prints for its children."""
    return sum(int(minutes) * 60 + float(seconds) for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", times))


def folders(text: str) -> dict[str, Folder]:
    """What `tell` printed."""
    found: dict[str, Folder] = {}
    for block in re.split(r"(?m)^@ ", text)[1:]:
        name, _, body = block.partition("\n")
        head, *ends = re.split(r"(?m)^of (?=\d{1,4}$)", body)
        pairs = (line.partition(" ") for line in head.splitlines())
        lines = {word: rest for word, _, rest in pairs}
        plain = Folder("staged" in lines, lines.get("uid", "").strip(), lines.get("lock", "").strip(), end(head))
        found[name.strip()] = _array(plain, head, ends, _whole(lines.get("array", "")))
    return found


def _array(plain: Folder, head: str, ends: Sequence[str], count: int) -> Folder:
    if not count:
        return plain
    holders = {int(place): who for place, who in re.findall(r"(?m)^task (\d{1,4}) (\S+)$", head) if int(place) < count}
    parted = {int(place): end(words) for place, _, words in (each.partition("\n") for each in ends)}
    told = {place: each for place, each in parted.items() if each is not None and place < count}
    by_pods = [who for who in holders.values() if who != NOBODY]
    all_nobody = plain.holder if plain.holder == NOBODY and not by_pods else ""
    return Folder(plain.staged, plain.uid, by_pods[0] if by_pods else all_nobody, None, count, holders, told)
