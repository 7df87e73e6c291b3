"""What is asked of Slurm: `resources`, the script's own `#SBATCH` lines and a cluster's defaults, as one command.

Pure. A `#SBATCH` line is honoured as if the script had been given to `sbatch`; where it contradicts what `resources`
says, `resources` wins, as a command line wins over a script, and the submitter is told. Nothing is asked for that
nobody asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from hub.jobs.amounts import memory_bytes, time_seconds
from hub.jobs.requests import Resources


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SHORT = {
    "A": "account", "a": "array", "b": "begin", "B": "extra-node-info", "c": "cpus-per-task", "C": "constraint",
    "d": "dependency", "D": "chdir", "e": "error", "F": "nodefile", "G": "gpus", "H": "hold", "i": "input",
    "J": "job-name", "k": "no-kill", "L": "licenses", "m": "distribution", "M": "clusters", "n": "ntasks",
    "N": "nodes", "o": "output", "O": "overcommit", "p": "partition", "q": "qos", "Q": "quiet", "s": "oversubscribe",
    "S": "core-spec", "t": "time", "v": "verbose", "w": "nodelist", "W": "wait", "x": "exclude",
}  # fmt: skip
# Options whose value, if they have one, stands behind `=` only.
WITHOUT_VALUE = _set("""
    contiguous exclusive get-user-env hold ignore-pbs interactive nice no-kill no-requeue overcommit oversubscribe
    parsable propagate quiet reboot requeue resv-ports send-libs spread-job test-only use-min-nodes usage verbose wait
""")
WITH_VALUE = _set("""
    account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container
    container-id core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency
    distribution error exclude export export-file extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node
    gpus-per-socket gpus-per-task gres gres-flags hint input job-name kill-on-invalid-dep licenses mail-type mail-user
    mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core
    ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode output partition power prefer priority profile qos
    reservation resources segment signal sockets-per-node switches threads-per-core thread-spec time time-min tmp
    tres-bind tres-per-task uid wait-all-nodes wckey wrap x11
""")
KNOWN = WITHOUT_VALUE | WITH_VALUE
# What the hub decides for itself, and why a script cannot.
OURS = {
    "output": "the hub keeps the log", "error": "the hub keeps the log", "open-mode": "the hub keeps the log",
    "input": "a job of the hub reads nothing from outside", "chdir": "a job starts in its own folder",
    "job-name": "", "comment": "the hub finds its jobs by the comment", "wrap": "there is a script",
    "export": "a job is given what its submission says", "export-file": "a job is given what its submission says",
    "get-user-env": "a job is given what its submission says", "clusters": "a job goes to one cluster",
    "parsable": "", "quiet": "", "verbose": "", "wait": "", "test-only": "", "usage": "", "ignore-pbs": "",
    "uid": "a job runs as the account it was sent by", "gid": "a job runs as the account it was sent by",
}  # fmt: skip
# Options that say the same thing in different ways: whoever is heard first is the only one heard.
GROUPS = {
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "mem"),
    **dict.fromkeys(("ntasks", "ntasks-per-node"), "tasks"),
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres"), "gpus"),
    **dict.fromkeys(("requeue", "no-requeue"), "requeue"),
}
DEFAULTS_ALLOWED = frozenset({"partition", "account", "qos", "constraint", "time", "mem", "mem-per-cpu", "reservation"})
_TIMES = frozenset({"time", "time-min"})
# Who asked, where it is no field of `resources`.
SCRIPT, DEFAULT = "#SBATCH", "the cluster's default"


class Directive(msgspec.Struct, frozen=True):
    """One option of a `#SBATCH` line."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


class Choice(msgspec.Struct, frozen=True):
    """An option that somebody asked for, who that was, and why it did not win; it won when `lost_because` is empty."""

    option: str
    by: str
    lost_because: str = ""


class Wish(msgspec.Struct, frozen=True):
    """The options for `sbatch`, and what the submitter is told of how they came about."""

    options: tuple[Directive, ...]
    notes: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()

    @property
    def argv(self) -> list[str]:
        return [str(each) for each in self.options]

    def value(self, name: str) -> str | None:
        return next((each.value for each in self.options if each.name == name), None)


class BadDirective(ValueError):
    """A `#SBATCH` line that cannot be read; says which."""


def directives(script: str) -> list[Directive]:
    """The options of a script, read where `sbatch` would read them. Raises BadDirective."""
    found: list[Directive] = []
    for number, line in enumerate(script.splitlines(), start=1):
        if line.startswith("#SBATCH"):
            rest = line[len("#SBATCH") :]
            if rest[:1].isspace():
                try:
                    found += _options(_words(rest))
                except ValueError as error:
                    raise BadDirective(f"line {number} of the script, {line.strip()[:80]!r}: {error}") from None
        elif line.strip() and not line.startswith("#"):
            break
    return found


def wish(resources: Resources, said: Sequence[Directive], defaults: Mapping[str, str] | None = None) -> Wish:
    """What is asked for in the end. Raises ValueError for amounts that cannot be honoured as they stand."""
    notes: list[str] = []
    lost: list[Choice] = []
    by_script: dict[str, Directive] = {}
    for each in said:
        if each.name in OURS:
            if why := OURS[each.name]:
                notes.append(f"`#SBATCH {each}` of the script was left out: {why}.")
            lost.append(Choice(str(each), SCRIPT, why or "the hub decides it"))
            continue
        group = GROUPS.get(each.name, each.name)
        for other in [name for name in by_script if GROUPS.get(name, name) == group]:
            # `--ntasks` and `--ntasks-per-node` may stand side by side.
            if other == each.name or group not in ("tasks", "gpus"):
                lost.append(Choice(str(by_script.pop(other)), SCRIPT, f"a later line of the script says `{each}`"))
        by_script[each.name] = each
    asked = list(_asked(resources, by_script))
    groups = {GROUPS.get(option.name, option.name) for _, option in asked}
    for name, directive in list(by_script.items()):
        if GROUPS.get(name, name) in groups and not _is_other_gres(directive):
            del by_script[name]
            field, option = next(
                each for each in asked if GROUPS.get(each[1].name, each[1].name) == GROUPS.get(name, name)
            )
            lost.append(Choice(str(directive), SCRIPT, f"{field} asks for `{option}`"))
            if not _same(directive, option):
                notes.append(f"`#SBATCH {directive}` of the script gave way to {field}, which asks for `{option}`.")
    options = {option.name: option for _, option in asked}
    won = [Choice(str(option), field) for field, option in asked]
    for name, directive in by_script.items():
        won.append(Choice(str(directive), SCRIPT))
        both = name == "gres" and name in options
        options[name] = Directive(name, f"{options[name].value},{directive.value}") if both else directive
    taken = {GROUPS.get(name, name) for name in options}
    for name, value in (defaults or {}).items():
        if name in DEFAULTS_ALLOWED and GROUPS.get(name, name) not in taken:
            options[name] = Directive(name, value)
            won.append(Choice(str(options[name]), DEFAULT))
    return Wish(tuple(options.values()), tuple(notes), (*won, *lost))


def _asked(wanted: Resources, by_script: Mapping[str, Directive]) -> Iterator[tuple[str, Directive]]:
    """(field, option) of all that `resources` says; a field left at its default says nothing."""
    sized = wanted.cpus_per_node > 1 or wanted.tasks_per_node > 1
    shaped = any(name in by_script for name in ("nodes", "ntasks", "ntasks-per-node"))
    if wanted.nodes > 1 or (sized and not shaped):
        yield "resources.nodes", Directive("nodes", str(wanted.nodes))
    if wanted.tasks_per_node > 1 or (sized and not shaped):
        yield "resources.tasks_per_node", Directive("ntasks-per-node", str(wanted.tasks_per_node))
    if wanted.cpus_per_node > 1:
        if wanted.cpus_per_node % wanted.tasks_per_node:
            raise ValueError(
                f"resources.cpus_per_node is {wanted.cpus_per_node}, which {wanted.tasks_per_node} tasks cannot share"
            )
        yield "resources.cpus_per_node", Directive("cpus-per-task", str(wanted.cpus_per_node // wanted.tasks_per_node))
    amounts = wanted.amounts()
    if amounts.memory_bytes is not None:
        yield "resources.memory", Directive("mem", slurm_memory(amounts.memory_bytes))
    if amounts.wall_seconds is not None:
        yield "resources.time", Directive("time", slurm_time(amounts.wall_seconds))
    if wanted.gpus:
        kind = f"gpu:{wanted.gpu_type}" if wanted.gpu_type else "gpu"
        yield "resources.gpus", Directive("gres", f"{kind}:{wanted.gpus}")
    for name in ("partition", "account", "qos", "constraint", "array", "licenses"):
        if (value := getattr(wanted, name)) is not None:
            yield f"resources.{name}", Directive(name, value)


def _is_other_gres(directive: Directive) -> bool:
    """`--gres` names more than GPUs."""
    return directive.name == "gres" and not (directive.value or "").startswith("gpu")


def _same(one: Directive, other: Directive) -> bool:
    if one.name != other.name:
        return False
    if one.value == other.value:
        return True
    try:
        if one.name in _TIMES:
            return time_seconds(one.value or "") == time_seconds(other.value or "")
        if one.name == "mem":
            return memory_bytes(one.value or "") == memory_bytes(other.value or "")
    except ValueError:
        return False
    return False


def slurm_time(seconds: int) -> str:
    """`2:00:00`, or `1-12:00:00`; Slurm counts whole minutes and rounds up."""
    minutes = -(-seconds // 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02}:{minute:02}:00" if days else f"{hour}:{minute:02}:00"


def slurm_memory(amount: int) -> str:
    """Whole mebibytes, rounded up: `32768M`."""
    return f"{-(-amount // 2**20)}M"


def _options(words: list[str]) -> Iterator[Directive]:
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word.startswith("--") and len(word) > 2:
            said, equals, value = word[2:].partition("=")
            name = _full_name(said)
            if equals:
                yield Directive(name, value)
            elif name in WITH_VALUE:
                yield Directive(name, _value_of(word, waiting))
            else:
                yield Directive(name)
        elif word.startswith("-") and len(word) > 1:
            yield from _short_options(word[1:], waiting)
        else:
            raise ValueError(f"{word[:40]!r} is no option")


def _short_options(letters: str, waiting: list[str]) -> Iterator[Directive]:
    while letters:
        letter, letters = letters[0], letters[1:]
        if (name := SHORT.get(letter)) is None:
            raise ValueError(f"there is no option -{letter}")
        if name in WITH_VALUE:
            yield Directive(name, letters.removeprefix("=") or _value_of(f"-{letter}", waiting))
            return
        yield Directive(name)


def _value_of(option: str, waiting: list[str]) -> str:
    if not waiting:
        raise ValueError(f"{option} has no value")
    return waiting.pop()


def _full_name(said: str) -> str:
    """`--node` is `--nodes`: whatever begins one name only is that name, as for `sbatch`."""
    if said in KNOWN:
        return said
    meant = [name for name in KNOWN if name.startswith(said)]
    return meant[0] if len(meant) == 1 else said


_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", re.DOTALL)


def _words(line: str) -> list[str]:
    """The words of a line, quotes taken off; what follows a `#` is a comment."""
    found: list[str] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] == "#":
            break
        elif (match := _WORD.match(line, at)) is not None:
            found.append(_unquoted(match[0]))
            at = match.end()
        else:
            raise ValueError("a quotation has no end")
    return found


def _unquoted(word: str) -> str:
    pieces = re.findall(r""""((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)|([^"'\\]+)""", word, re.DOTALL)
    return "".join(
        re.sub(r"\\(.)", r"\1", double) or single or escaped or plain for double, single, escaped, plain in pieces
    )
