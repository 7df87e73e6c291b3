"""Replies as blocks: whatever they hold, Slack takes them, and nothing in them is more than text."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bot.cards import Field, Next, Progress, Reply, Row, Secret, State, Table
from bot.problems import Problem
from bot.slack_blocks import plain_blocks, problem_blocks, reply_blocks, words_of
from bot.slack_request import Forged, check, signed
from bot.slack_text import clipped, escaped, heard, length, one_line, tail, visible, without_mention
from tests.bot.fake_slack import Message, check_message

TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["<!channel>", "@here", "<@U1>", "*b* _i_ ~s~ `c`", "\u202eevil", "a\u200bb", "🧪" * 40, "&lt;"]),
)  # fmt: skip
REPLIES = st.builds(
    Reply,
    sentence=TEXTS,
    title=TEXTS,
    session=st.sampled_from(["", "ana/hcl"]),
    state=st.one_of(st.none(), st.just(State("Running", "●"))),
    progress=st.one_of(st.none(), st.builds(Progress, fraction=st.floats(-1, 2), said=TEXTS)),
    fields=st.lists(st.builds(Field, name=TEXTS, value=TEXTS), max_size=12).map(tuple),
    body=TEXTS,
    table=st.one_of(
        st.none(),
        st.builds(
            Table,
            columns=st.just(("a",)),
            rows=st.lists(st.builds(Row, cells=st.just(("a",)), sentence=TEXTS), max_size=10).map(tuple),
            more=TEXTS,
        ),
    ),
    next=st.lists(
        st.builds(
            Next, label=TEXTS.filter(bool), command=st.lists(TEXTS, max_size=3).map(tuple),
            url=st.sampled_from(["", "https://hub.test/x"]), is_dangerous=st.booleans(),
        ),
        max_size=8,
    ).map(tuple),
    url=st.sampled_from(["", "https://hub.test/jobs/1"]),
    secret=st.one_of(st.none(), st.builds(Secret, name=TEXTS, value=TEXTS, warning=TEXTS)),
)  # fmt: skip


def shown(rendered: dict[str, object]) -> Message:
    return Message("C1", "1.0", str(rendered["text"]), rendered["blocks"], "U0BOT")  # type: ignore[arg-type]


QUICKLY = settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@QUICKLY
@given(REPLIES, st.sampled_from([1, 2, 400]))
def test_every_reply_is_taken_by_slack_and_pings_nobody(reply: Reply, times: int) -> None:
    """`times` makes everything of it so much longer, and lists so much longer too."""
    table = reply.table and msgspec.structs.replace(reply.table, rows=reply.table.rows * min(times, 20))
    reply = msgspec.structs.replace(
        reply, sentence=reply.sentence * times, title=reply.title * times, body=(reply.body + "\n") * times * 20,
        fields=reply.fields * min(times, 10), table=table,
    )  # fmt: skip
    rendered = reply_blocks(reply)
    check_message(rendered["text"], rendered["blocks"])
    message = shown(rendered)
    assert message.pings == [] and rendered["text"]
    assert not {"\u202e", "\u200b"} & set(message.words)
    assert "mrkdwn" not in json.dumps(rendered["blocks"])


@QUICKLY
@given(TEXTS, TEXTS, TEXTS, st.lists(TEXTS, max_size=5))
def test_every_problem_is_taken_by_slack_and_pings_nobody(detail: str, hint: str, fix: str, errors: list[str]) -> None:
    rendered = problem_blocks(Problem("x", detail, hint=hint, fix=fix, errors=errors))
    check_message(rendered["text"], rendered["blocks"])
    assert shown(rendered).pings == []


def test_the_text_beside_the_blocks_is_the_whole_card_in_a_sentence() -> None:
    reply = Reply(
        sentence="job 12 “a<b” running on local, 64 %, 4 min left", title="job 12", fields=(Field("where", "local"),)
    )
    assert reply_blocks(reply)["text"] == "job 12 “a&lt;b” running on local, 64 %, 4 min left"


def test_of_a_log_the_end_is_kept_and_what_is_cut_is_said() -> None:
    log = "".join(f"line {number}\n" for number in range(5_000))
    rendered = reply_blocks(Reply(sentence="job 1", title="job 1", body=log, url="https://hub.test/jobs/1"))
    [kept] = [b["elements"][0]["elements"][0]["text"] for b in rendered["blocks"]
              if b["type"] == "rich_text" and b["elements"][0]["type"] == "rich_text_preformatted"]  # fmt: skip
    assert kept.startswith("…\nline ") and kept.endswith("line 4999")
    assert "the page has the rest" in json.dumps(rendered["blocks"])


def test_a_button_carries_its_command_and_names_the_session_it_meant() -> None:
    cancel = Next("stop it", ("job", "cancel", "12"), is_dangerous=True)
    named = Next("read", ("note", "show", "ana/hcl#n3"))
    asks = Next("sign it", ("note", "sign", "ana/hcl#n3", "--key", "KEY"))
    rendered = reply_blocks(Reply(sentence="x", session="ana/hcl", next=(cancel, named, asks)))
    buttons = shown(rendered).buttons
    assert words_of(buttons["stop it"]["value"]) == ["job", "cancel", "12", "--session", "ana/hcl"]
    assert "Stop it: job cancel 12" in buttons["stop it"]["confirm"]["text"]["text"]
    assert words_of(buttons["read"]["value"]) == ["note", "show", "ana/hcl#n3"]
    assert "sign it" not in buttons and "--key KEY" in json.dumps(rendered["blocks"])


@pytest.mark.parametrize("value", ["", "job list", "{}", "[1]", "null", '"x"'])
def test_a_value_that_is_no_command_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        words_of(value)


def test_what_slack_wraps_is_unwrapped() -> None:
    said = "share <mailto:ben@x.org|ben@x.org>:read <http://lines.md|lines.md> <https://a.b/c?x=1&amp;y=2>"
    assert heard(said) == "share ben@x.org:read lines.md https://a.b/c?x=1&y=2"
    assert heard("<https://a.b|click> a &lt; b &amp; c") == "https://a.b a < b & c"
    assert heard("<!channel> <@U12|ana> <#C1|lab>") == "@channel @ana #lab"
    assert without_mention("<@U0BOT>: job list", "U0BOT") == "job list"
    assert without_mention("hey <@U0BOT> job list", "U0BOT") == "hey  job list"


def test_what_has_no_shape_is_shown_and_what_belongs_to_writing_is_kept() -> None:
    assert visible("a\u202eb\u2066c\u200bd\ufeffe\x1bf") == "a[U+202E]b[U+2066]c[U+200B]d[U+FEFF]e[U+001B]f"
    for kept in ("👩\u200d🔬", "می\u200cخواهم", "naïve — “quoted”", "two\nlines\tand a tab"):
        assert visible(kept) == kept
    assert visible("a\u200db") == "a[U+200D]b"
    assert one_line("a\n b\r\nc") == "a b c"


def test_lengths_are_counted_as_slack_may_count_them() -> None:
    assert length("🧪a") == 3
    assert clipped("🧪" * 10, 10) == "🧪" * 4 + "…" and clipped("abc", 3) == "abc"
    assert tail("one\ntwo\nthree", 10) == "…\nthree"
    assert escaped("<a&b>") == "&lt;a&amp;b&gt;"
    check_message(plain_blocks("x" * 10_000)["text"], plain_blocks("x" * 10_000)["blocks"])


def test_a_signature_is_believed_only_over_these_bytes_by_this_secret_at_this_time() -> None:
    body, now = b'{"a": 1}', 1_700_000_000.0
    good = signed("s3cret", "1700000000", body).decode()
    check(["other", "s3cret"], "1700000000", good, body, now)
    check(["s3cret"], "1700000000", good, body, now + 300)
    for stamp in (
        "1700000000 ",
        " 1700000000",
        "1_700_000_000",
        "+1700000000",
        "",
        "soon",
        "١٧٠٠٠٠٠٠٠٠",
        "17e8",
        "9" * 30,
    ):
        with pytest.raises(Forged):
            check(["s3cret"], stamp, signed("s3cret", stamp, body).decode(), body, now)
    for secrets, signature, content, at in (
        (["other"], good, body, now), ([], good, body, now), (["s3cret"], good[:-1], body, now),
        (["s3cret"], "", body, now), (["s3cret"], good, body + b" ", now), (["s3cret"], good, body, now + 301),
        (["s3cret"], good, body, now - 301), (["s3cret"], "v1" + good[2:], body, now), (["s3cret"], "ü", body, now),
    ):  # fmt: skip
        with pytest.raises(Forged):
            check(secrets, "1700000000", signature, content, at)


def test_a_reply_with_long_words_everywhere_is_within_what_slack_takes() -> None:
    long = "\u202e" * 900
    reply = Reply(
        sentence=long, title=long, state=State("Running", "●"), fields=tuple(Field(long, long) for _ in range(12)),
        body=long * 20, table=Table(("a",), tuple(Row((long,), long) for _ in range(60)), long),
        next=tuple(Next(long, (long, long), is_dangerous=True) for _ in range(8)), secret=Secret(long, long, long),
    )  # fmt: skip
    rendered = reply_blocks(reply)
    check_message(rendered["text"], rendered["blocks"])
