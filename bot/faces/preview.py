"""A dry run: what would be called, with what it stands in; and the question about a script that was changed."""

import shlex

from bot import words
from bot.cards import Next, Reply, Row, State, Table, fields
from bot.problems import CONFLICT
from bot.work_views import ChangedScript, Preview, Previews

_HELD = "A script was changed by somebody else since you last saw it; nothing was submitted."


def previews_card(found: Previews, sent: tuple[str, ...]) -> Reply:
    """What a submission would start; `sent` are the files here that would be sent first."""
    many = words.counted(len(found.jobs), "job")
    says = f"{many} would be submitted; nothing was recorded and nothing sent."
    one = found.jobs[0] if len(found.jobs) == 1 else None
    return Reply(
        sentence=f"{found.name}: {says}",
        named=f"{found.name}: {says}",
        ident=says,
        title=f"dry run of {found.name}",
        session=found.session_name,
        state=State("Dry run", "○", "wait"),
        fields=fields(
            "where",
            where=", ".join(dict.fromkeys(each.backend for each in found.jobs)),
            folder=one.folder if one else None,
            limits=_limits(one) if one else None,
            inputs=words.listed([each.path for each in one.inputs]) if one else None,
            sent_first=words.listed(list(sent)) if sent else None,
            to_confirm=_to_confirm(found.changed),
        ),
        table=_steps(found),
        body="\n".join([*(_changed(each) for each in found.changed), *(_text(each) for each in found.jobs)]),
        data=found,
    )


def _steps(found: Previews) -> Table | None:
    """The steps of a workflow with what each waits for, those that stand from before first."""
    if not any(each.step for each in found.jobs):
        return None
    rows = [Row((step, "", "", "kept"), f"{step}: it stands as it ran before", "", "") for step in found.kept]
    for each in found.jobs:
        after = words.listed(list(each.waits_for))
        said = f"{each.step} on {each.backend}" + (f", after {after}" if after else "")
        rows.append(Row((each.step or each.name, each.backend, after, "to run"), said, "", ""))
    return Table(("step", "where", "after", ""), tuple(rows))


def _limits(one: Preview) -> str:
    said = [
        words.size(value) if name.endswith("_bytes") else words.duration(value) if "seconds" in name else f"{value:,}"
        for name, value in one.limits.items()
    ]
    return ", ".join(f"{name.split('_')[0]} {value}" for name, value in zip(one.limits, said, strict=True))


def _to_confirm(changed: tuple[ChangedScript, ...]) -> str:
    return ", ".join(f"{each.path} as {each.now.by} changed it" for each in changed)


def _text(one: Preview) -> str:
    """A job as the files and the call that it would be."""
    heads = [f"== {one.step or one.name} on {one.backend} =="] if one.step else []
    parts = [*heads, *(f"# {note}" for note in one.notes)]
    if one.command:
        parts += ["", "$ " + shlex.join(one.command)]
    if one.options:
        parts += ["", "Options, and who asked for them:", *(_option(each) for each in one.options)]
    if one.manifest:
        parts += ["", "---", one.manifest.rstrip("\n")]
    for each in one.files:
        parts += ["", f"--- {each.path} ---", each.text.rstrip("\n")]
    return "\n".join(parts)


def _option(each: object) -> str:
    option, by, why = (getattr(each, name) for name in ("option", "by", "lost_because"))
    return f"  {'-' if why else '+'} {option}  ({by})" + (f": gave way, {why}" if why else "")


def _changed(each: ChangedScript) -> str:
    where = f" (step {each.step})" if each.step else ""
    who = f"you saw version {each.seen.number}, {each.now.by} made version {each.now.number}"
    return f"{each.path}{where}: {who}\n{each.diff}\n"


def change_text(changed: tuple[ChangedScript, ...]) -> str:
    """What changed, as text."""
    return "\n".join(_changed(each) for each in changed).rstrip("\n")


def change_card(detail: str, changed: tuple[ChangedScript, ...], again: tuple[str, ...], session: str) -> Reply:
    """The question whether a changed script shall run, with a button that says yes."""
    return Reply(
        sentence=detail,
        named=_HELD,
        ident=_HELD,
        session=session,
        body=change_text(changed),
        table=Table(
            ("script", "by", "version"),
            tuple(
                Row((each.path, each.now.by, str(each.now.number)), f"{each.path} is version {each.now.number}", "", "")
                for each in changed
            ),
        )
        if len(changed) > 1
        else None,
        next=(Next("run it as it is now", again, is_dangerous=True),),
        exit_code=CONFLICT,
    )
