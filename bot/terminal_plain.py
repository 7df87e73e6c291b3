"""A reply as full lines of text: for pipes, for scripts, for ears, for terminals that cannot redraw."""

from collections.abc import Iterator
from datetime import datetime

from bot import words
from bot.cards import Reply
from bot.problems import Problem
from bot.text import printable, printable_lines


def lines(reply: Reply) -> Iterator[str]:
    """Every fact of the reply, a full line each, the whole in a sentence first."""
    if reply.sentence and not reply.is_text:
        yield printable(reply.sentence)
    for field in reply.fields:
        yield f"{printable(field.name)}: {printable(field.value)}"
    if reply.body:
        if not reply.is_text:
            yield ""
        yield from printable_lines(reply.body).rstrip("\n").split("\n")
    if reply.table is not None:
        yield from (printable(row.sentence) for row in reply.table.rows)
        if reply.table.more:
            yield printable(reply.table.more)
    if reply.secret is not None:
        yield f"{reply.secret.name}: {printable(reply.secret.value)}"
        if reply.secret.warning:
            yield printable(reply.secret.warning)
    if reply.url:
        yield f"page: {printable(reply.url)}"


def event(reply: Reply, at: datetime) -> str:
    """One event as one line with its time, for what changes while one watches."""
    return f"{words.moment(at, at)} {printable(reply.sentence)}"


def news(reply: Reply) -> object:
    """What must have changed for a reply to be worth another line: its state, or a tenth of its way."""
    if reply.progress is None or reply.progress.fraction is None:
        return reply.state, reply.sentence if reply.state is None or reply.state.tone != "run" else ""
    return reply.state, int(reply.progress.fraction * 10)


def problem_lines(problem: Problem) -> Iterator[str]:
    """What was not done, where, and what to do; the first line begins with the word Error."""
    yield f"Error: {printable(problem.detail)}" + (f" Did you mean `{printable(problem.fix)}`?" if problem.fix else "")
    if problem.path:
        yield f"Where: {printable(problem.path)}"
    yield from (f"- {printable(error)}" for error in problem.errors)
    if problem.body:
        yield from printable_lines(problem.body).rstrip("\n").split("\n")
    if problem.hint:
        yield f"Hint: {printable(problem.hint)}"
    if problem.request_id and problem.status == 500:
        yield f"Request: {printable(problem.request_id)}"
