"""What is run on a cluster: POSIX shell, made from quoted values only. Nothing is installed there.

Below the account's root lies `jobs/JOB/RUN/` for each run, and `events/`, the spool of what runs tell by themselves:

    run.sh        what Slurm starts: the run's lock, its start, the program, its end
    given/        script, manifest and setup; work/ is where the program starts
    staged        the folder is complete; it got its name by one rename
    submit.lock   somebody has called sbatch, or is about to: nobody ever does so again for this run
    job.id        what sbatch answered
    run.lock      the id of the one job that may run it, made complete by a hard link; a requeued job has the same id,
                  and so have the tasks of an array
    log.ID        what the job of that id wrote
    end           how it ended, first hand; written by rename
    turn.K        who was the K-th to hold, release or requeue it; requeue.N: how often it had been restarted before
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import msgspec

from hub.jobs.backends.waited import WAITED
from hub.jobs.ssh import command

# How the scripts below end when they do not end well.
NOT_STAGED, LOCKED, NOT_SUBMITTED, NOT_NOW, UNDER_WAY = 70, 75, 76, 77, 78
DUPLICATE = 97
QUERY = "LC_ALL=C TZ=UTC0"
# Longer than a command that steers a job can live, which has its own `timeout`.
TURN_SECONDS = 180
# Of one log, and of all that one question asks for.
LOG_PIECE_BYTES, LOG_ANSWER_BYTES = 1 << 20, 16 << 20

HELLO = r"""
id -un; cd && pwd -P
for c in sbatch squeue scancel scontrol tar base64 find gzip; do command -v "$c" >/dev/null || echo "missing $c"; done
echo "version $(sbatch --version 2>/dev/null)"
w='MinJobAge\|ClusterName\|MaxArraySize\|AccountingStorageType'
LC_ALL=C scontrol show config 2>/dev/null | sed -n "s/^\($w\) *= */\1 /p"
"""

_RUN = r"""#!/bin/sh
# Made by a Collegium hub; its job is {job}, run {run}.
d={folder}
r={root}
id=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}
n=${{SLURM_RESTART_COUNT:-0}}
x=${{SLURM_ARRAY_TASK_ID:+.$SLURM_ARRAY_TASK_ID}}
tell() {{
    e={job}.{run}$x.$1
    printf '%s %s %s\n' "$id" "$n" "$SLURM_JOB_NODELIST" > "$r/events/.$e.$$" && mv "$r/events/.$e.$$" "$r/events/$e"
}}
printf '%s\n' "$id" > "$d/.lock$x.$id.$$"
ln "$d/.lock$x.$id.$$" "$d/run.lock" 2>/dev/null
rm -f "$d/.lock$x.$id.$$"
if [ "$(cat "$d/run.lock" 2>/dev/null)" != "$id" ]; then
    echo "[collegium] this is a second copy of a job that runs already; it leaves" >&2
    tell DUPLICATE
    exit {duplicate}
fi
if [ "$n" -gt 0 ] && grep -qx 'code 0' "$d/end$x" 2>/dev/null && grep -qx 'got ' "$d/end$x"; then
    echo "[collegium] its program has ended well already; it is not run again" >&2
    tell EXIT
    exit 0
fi
[ "$n" -gt 0 ] && printf '== attempt %s on %s ==\n' "$((n + 1))" "$(hostname)"
rm -f "$d/end$x"
s=$(date +%s)
printf '%s\n' "$s" > "$d/started$x"
tell STARTED
got=
p=
cr=$(printf '\r')
pass() {{ got=$1; [ -n "$p" ] && kill -s "$1" "$p" 2>/dev/null; }}
for w in TERM INT HUP USR1 USR2; do trap "hit=1; pass $w" "$w"; done
(
    for w in TERM INT HUP USR1 USR2; do trap - "$w"; done
    cd "$d"/work{below} || exit 96
{variables}
    exec {command}
) </dev/null & p=$!
{waited}times > "$d/.times$x"
oom=
peak=
while IFS=: read -r _ w g; do
    case $w:$g in
        :*/job_*) f=/sys/fs/cgroup${{g%%/step_*}}; k=$f/memory.events; m=$f/memory.peak ;;
        memory:*/job_*) f=/sys/fs/cgroup/memory$g; k=$f/memory.oom_control; m=$f/memory.max_usage_in_bytes ;;
        *) continue ;;
    esac
    oom=$(sed -n 's/^oom_kill //p' "$k" 2>/dev/null)
    peak=$(cat "$m" 2>/dev/null)
done < /proc/self/cgroup
{{
    printf 'id %s\ncode %s\ngot %s\n' "$id" "$c" "$got"
    printf 'start %s\nend %s\noom %s\npeak %s\n' "$s" "$(date +%s)" "$oom" "$peak"
    printf 'times %s\nnode %s\n' "$(tail -n 1 "$d/.times$x")" "$(hostname)"
}} > "$d/.end$x" && mv "$d/.end$x" "$d/end$x"
tell EXIT
exit "$c"
"""

# For a run's folder, which lies at $d: the words that follow are called, which is sbatch, unless somebody ever did so.
# A process costs a login node as much as the rest of a submission does, so that none is started but sbatch: the lock is
# a file that must not exist (an earlier hub's is a folder, which serves as well), and the answer is kept by one write.
CALL = f"""call() {{
    [ -s "$d/job.id" ] && {{ cat "$d/job.id"; return 0; }}
    set -C
    {{ true > "$d/submit.lock"; }} 2>/dev/null
    c=$?
    set +C
    [ "$c" -eq 0 ] || return {LOCKED}
    "$@" > "$d/submit.out" 2> "$d/submit.err"
    c=$?
    [ -s "$d/submit.err" ] && cat "$d/submit.err" >&2
    [ "$c" -eq 0 ] || {{ echo "sbatch ended with $c"; return {NOT_SUBMITTED}; }}
    w=
    while IFS= read -r l; do w="$w$l
"; done < "$d/submit.out"
    printf %s "$w"
    printf %s "$w" > "$d/job.id"
    return 0
}}
"""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a run starts: a command, what is set for it, and where below its folder it begins."""

    command: Sequence[str]
    variables: Mapping[str, str]
    workdir: str = ""


def below_home(hub: str) -> str:
    """Where a hub keeps its runs on a cluster for which nobody said where: below the home of the account."""
    return f".collegium/{hub[:12]}"


def folder_of(root: str, job: str, run: int) -> str:
    return f"{root}/jobs/{job}/{run}"


def run_script(root: str, job: str, run: int, program: Program) -> str:
    """The text of `run.sh`."""
    said = _RUN.format(
        waited=WAITED,
        job=job,
        run=run,
        root=shlex.quote(root),
        folder=shlex.quote(folder_of(root, job, run)),
        duplicate=DUPLICATE,
        below=shlex.quote(f"/{program.workdir}") if program.workdir else "",
        variables="\n".join(f"    export {name}={shlex.quote(value)}" for name, value in program.variables.items())
        or "    :",
        command=command(program.command),
    )
    # sbatch refuses a script with line breaks of DOS in it, even inside a quoted word. They are nowhere else in here.
    return said.replace("\r", "'\"$cr\"'")


def sbatch(root: str, job: str, run: int, options: Sequence[str]) -> list[str]:
    """How sbatch is called for a run, with options of one's own."""
    folder = folder_of(root, job, run)
    # A path in --output is a pattern. Of a job that Slurm took twice, each copy writes to a log of its own.
    log = folder.replace("%", "%%") + "/log.%j"
    ours = ["--parsable", f"--output={log}", "--open-mode=append", f"--chdir={folder}"]
    return ["sbatch", *ours, *options, f"{folder}/run.sh"]


def submit(root: str, job: str, run: int, *, nonce: str, bundle: str | None, options: Sequence[str]) -> str:
    """Lay the run's folder, unless that was done, and call sbatch, unless somebody ever did.

    `bundle` is a compressed archive in base64, or None when it was uploaded to `incoming`.
    """
    folder = folder_of(root, job, run)
    uploaded = shlex.quote(incoming(root, job, run))
    # On a full disk a file may be there and lack its content: tar has the word.
    lacks = f'|| {{ rm -rf "$s"; exit {NOT_STAGED}; }}'
    unpack = (
        f'tar -xzf {uploaded} -C "$s" {lacks}'
        if bundle is None
        else f"base64 -d <<'~' | tar -xzf - -C \"$s\" {lacks}\n{bundle}\n~\n"
    )
    tidy = f"rm -f {uploaded}" if bundle is None else ""
    return f"""umask 077
d={shlex.quote(folder)}
if [ ! -e "$d/staged" ]; then
    s="$d".{shlex.quote(nonce)}
    mkdir -p "$s" {shlex.quote(root)}/events || exit {NOT_STAGED}
    {unpack}
    [ -x "$s/run.sh" ] && [ -d "$s/work" ] && : > "$s/staged" || exit {NOT_STAGED}
    mv -T "$s" "$d" 2>/dev/null || {{ rm -rf "$s"; [ -e "$d/staged" ] || exit {NOT_STAGED}; }}
    {tidy}
fi
[ -d "$d" ] || exit {NOT_STAGED}
{CALL}call {command(sbatch(root, job, run, options))}
exit
"""


def incoming(root: str, job: str, run: int) -> str:
    return f"{root}/incoming/{job}.{run}.tgz"


def adopt(root: str, job: str, run: int, native: str) -> str:
    """Keep the id that was found out by other means than sbatch's answer."""
    folder = shlex.quote(folder_of(root, job, run))
    return f"cd {folder} && printf '%s\\n' {shlex.quote(native)} > .job.id.$$ && mv .job.id.$$ job.id"


def forbid(root: str, job: str, run: int) -> str:
    """Take the run's lock for nobody, so that no job can ever enter it; prints who has it then."""
    folder = shlex.quote(folder_of(root, job, run))
    return f"""mkdir -p {folder} && cd {folder} || exit 1
printf 'nobody\\n' > .lock.nobody.$$ && ln .lock.nobody.$$ run.lock 2>/dev/null
rm -f .lock.nobody.$$
cat run.lock
"""


def cancel(tokens: Sequence[str], only: Sequence[str] = ()) -> str:
    """Cancel whatever the account has in Slurm that bears one of these tokens; with `only`, of these ids alone.

    Never by an id alone: a scheduler that has lost its state gives ids out again, and the job may be somebody else's.
    """
    which = command(["grep", "-F", *(f"-e{token}" for token in tokens)])
    which += " | cut -d' ' -f1 | sort -u"
    if only:
        which += " | " + command(["grep", "-Fx", *(f"-e{each}" for each in only)])
    return f"""s=$({QUERY} squeue --me --noheader -o '%F %j %k') || exit 1
set -- $(printf '%s\\n' "$s" | {which})
[ $# -eq 0 ] || scancel --quiet "$@" || : # one may have ended just now
"""


# In a run's folder: a turn for each who asks Slurm for something, with where they do it, as which process, since when.
# Whoever has the last turn is done when that process is gone, which becomes scontrol itself; on another host that
# cannot be seen, but no command lives so long.
_ONE_AT_A_TIME = f"""printf '%s %s %s\\n' "$(uname -n)" "$$" "$(date +%s)" > .turn.$$ || {{ rm -f .turn.$$; exit 1; }}
k=1
while ! ln .turn.$$ turn.$k 2>/dev/null; do
    read -r h p b < turn.$k || {{ rm -f .turn.$$; exit 1; }}
    if [ $(($(date +%s) - b)) -lt {TURN_SECONDS} ]; then
        [ "$h" = "$(uname -n)" ] && ! kill -0 "$p" 2>/dev/null || {{ rm -f .turn.$$; exit {UNDER_WAY}; }}
    fi
    k=$((k + 1))
done
rm -f .turn.$$
"""


def control(root: str, job: str, run: int, native: str, token: str, *, what: str, number: int) -> str:
    """Hold, release or requeue one job, if it is in a state for that; the wish of this number is carried out once.

    An id that has been given out again is another's: a job that does not bear the token, if any, is not touched.
    Slurm would hold a job that runs, and requeue one that has ended. How often it was restarted is written down before
    it is requeued, so that whoever asks again for the same wish sees that it has been. One asks at a time: whoever
    comes while another's question may yet take effect is sent away, and looks again.
    """
    state = r"""$(printf '%s\n' "$s" | sed -n 's/^ *JobState=\([A-Z_]*\) .*/\1/p' | sort -u | tr '\n' ' ')"""
    may = 'case " $t" in *" PENDING "*) ;; *) no "$t";; esac\n'
    if what == "requeue":
        count = r"""$(printf '%s\n' "$s" | sed -n 's/^ *Requeue=[0-9]* Restarts=\([0-9]*\) .*/\1/p')"""
        may = f"""case $s in *ArrayJobId=*) no ARRAY;; esac
n={count}
if [ ! -e requeue.{number} ]; then
    echo "$n" > .requeue.$$ && ln .requeue.$$ requeue.{number} 2>/dev/null
    rm -f .requeue.$$
fi
[ "$n" = "$(cat requeue.{number})" ] || exit 0
[ "$t" = "RUNNING " ] || no "$t"
"""
    folder = shlex.quote(folder_of(root, job, run))
    return f"""mkdir -p {folder} && cd {folder} || exit 1
no() {{ echo "$1"; exit {NOT_NOW}; }}
{_ONE_AT_A_TIME}s=$({QUERY} scontrol show job {shlex.quote(native)}) || exit 1
case $s in *{shlex.quote(token)}*) ;; *) exit {NOT_NOW};; esac
t={state}
{may}exec {command(["scontrol", what, native])}
"""


def ends(root: str, runs: Sequence[tuple[str, int]]) -> str:
    """What the folders of these runs say of their ends."""
    names = command([f"{job}/{run}" for job, run in runs])
    return f"""cd {shlex.quote(root)}/jobs || exit 1
for d in {names}; do
    echo "@ $d"
    [ -s "$d/job.id" ] && echo "given $(cat "$d/job.id")"
    l=$d/log.$(cat "$d/run.lock" 2>/dev/null || cat "$d/job.id" 2>/dev/null)
    [ -e "$l" ] && echo "log $(wc -c < "$l")"
    tail -c 2000 "$l" 2>/dev/null | grep -q '^slurmstepd[^ ]*: error: .*xceeded .*memory limit' && echo greedy
    [ -e "$d/run.lock" ] && echo "lock $(cat "$d/run.lock")"
    for f in "$d"/end*; do [ -e "$f" ] && echo "end ${{f#"$d"/end}}" && cat "$f"; done
done
:
"""


def log_piece_bytes(logs: int) -> int:
    """How much of each log comes when so many are asked for: an answer has its limit."""
    return min(LOG_PIECE_BYTES, LOG_ANSWER_BYTES // max(1, logs))


def log_pieces(root: str, wanted: Sequence[tuple[str, int, int]]) -> str:
    """The next bytes of logs: for each (job, run, offset) a line with how many follow, then the bytes."""
    asked = "\n".join(f"{job}/{run} {offset}" for job, run, offset in wanted)
    most = log_piece_bytes(len(wanted))
    return f"""cd {shlex.quote(root)}/jobs || exit 1
while read -r d o; do
    l=$d/log.$(cat "$d/run.lock" 2>/dev/null || cat "$d/job.id" 2>/dev/null)
    [ -e "$l" ] && n=$(wc -c < "$l") || continue
    n=$((n - o))
    [ "$n" -gt 0 ] || continue
    [ "$n" -gt {most} ] && n={most}
    echo "@ $d $o $n"
    tail -c +$((o + 1)) "$l" | head -c "$n"
done <<'~'
{asked}
~
"""


def file_pieces(wanted: Sequence[tuple[str, int, int, str]]) -> str:
    """As `log_pieces`, of regular files wherever they lie: for each (job, run, offset, path)."""
    asked = "\n".join(command(["piece", f"{job}/{run}", str(offset), path]) for job, run, offset, path in wanted)
    return f"""piece() {{
    [ -f "$3" ] && [ -r "$3" ] && n=$(wc -c < "$3") || return 0
    n=$((n - $2))
    [ "$n" -gt 0 ] || return 0
    [ "$n" -gt {LOG_PIECE_BYTES} ] && n={LOG_PIECE_BYTES}
    echo "@ $1 $2 $n"
    tail -c +$(($2 + 1)) "$3" | head -c "$n"
}}
{asked}
:
"""


def watch(root: str) -> str:
    """Print and remove what lies in the spool, every second, until nobody listens."""
    return f"""mkdir -p {shlex.quote(root)}/events && cd {shlex.quote(root)}/events || exit 1
n=0
while :; do
    for f in *; do
        [ -e "$f" ] || continue
        read -r w < "$f"
        printf '%s %s\\n' "$f" "$w" || exit 0
        rm -f "$f"
    done
    n=$((n + 1))
    [ $((n % 5)) -ne 0 ] || printf '.\\n' || exit 0
    sleep 1
done
"""


def squeue(form: str) -> str:
    return f"{QUERY} squeue --me --states=all --noheader -o {shlex.quote(form)}"


def sacct(fields: str, user: str, ids: Sequence[str], since: str, *, own_only: bool = False) -> str:
    """Accounting of these ids, or of everything since a moment when an id is not known."""
    which = [f"--jobs={','.join(ids)}"] if ids else [f"--user={user}"]
    which += [f"--user={user}"] if ids and own_only else []
    asked = command(["sacct", "-X", "-n", "-P", *which, f"--starttime={since}", f"--format={fields}"])
    return f"{QUERY} {asked}"


def listing(folder: str, most: int) -> str:
    """Every regular file (size, time, path; NUL-ended), then how many there are in all and how many other things."""
    return f"""cd {shlex.quote(folder)}/work || exit 1
find . -type f -printf '%s %T@ %p\\0' 2>/dev/null | head -z -n {most}
printf '\\0'
find . -type f -printf . 2>/dev/null | wc -c
find . ! -type f ! -type d -printf . 2>/dev/null | wc -c
"""
