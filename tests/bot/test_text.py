"""What people type into a chat, turned into the words they meant."""

import pytest

from bot.text import Unclosed, lines_joined, normalise, printable, safe_for_terminal, words


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("job submit fit.py —time 2:00:00", ["job", "submit", "fit.py", "--time", "2:00:00"]),
        ("job submit fit.py –in a.csv", ["job", "submit", "fit.py", "--in", "a.csv"]),
        ("job logs 12 —-follow", ["job", "logs", "12", "--follow"]),
        ("job submit fit.py — —bootstrap", ["job", "submit", "fit.py", "--", "--bootstrap"]),
        ("note post “Band of HCl”", ["note", "post", "Band of HCl"]),
        ("note post „Bande“", ["note", "post", "Bande"]),
        ("note post «Bande»", ["note", "post", "Bande"]),
        ("note post ‘one word’", ["note", "post", "one word"]),
        ("note post Ben’s run", ["note", "post", "Ben's", "run"]),
        ("note post Ben's run", ["note", "post", "Ben's", "run"]),
        ("job\u00a0list\u200b", ["job", "list"]),
        ("job submit x -e NAME=“two words”", ["job", "submit", "x", "-e", "NAME=two words"]),
        ("range 1–2 a—b", ["range", "1–2", "a—b"]),
        ("say -1 – 3", ["say", "-1", "--", "3"]),
        (r"note post a\ b", ["note", "post", "a b"]),
        (r'note post "a \"b\" \n"', ["note", "post", r'a "b" \n']),
        ("", []),
        ("   ", []),
        ('note post ""', ["note", "post", ""]),
    ],
)
def test_typographic_characters_are_what_was_typed(typed: str, meant: list[str]) -> None:
    assert words(typed) == meant


def test_nothing_inside_code_is_touched() -> None:
    assert words("note post `a—b “c”`") == ["note", "post", "a—b “c”"]
    assert normalise("x —a `—a “b”` ```—c```") == "x --a `—a “b”` ```—c```"


def test_a_code_block_is_one_word_with_its_lines() -> None:
    said = "job submit ```bash\n#!/bin/bash\r\necho “—x”\n``` —name fit"
    assert words(said) == ["job", "submit", "#!/bin/bash\necho “—x”\n", "--name", "fit"]


def test_a_block_that_begins_at_once_keeps_its_first_line() -> None:
    assert words("job submit ```#!/bin/sh\ntrue```") == ["job", "submit", "#!/bin/sh\ntrue\n"]


def test_a_block_that_does_not_end_goes_to_the_end() -> None:
    assert words("job submit ```\ntrue\n") == ["job", "submit", "true\n"]


@pytest.mark.parametrize("said", ['note post "half', "note post “half", "note post 'half"])
def test_a_quotation_that_does_not_close_is_told(said: str) -> None:
    with pytest.raises(Unclosed):
        words(said)


def test_line_ends_of_any_machine_become_newlines() -> None:
    assert lines_joined("a\r\nb\rc\n") == "a\nb\nc\n"


def test_a_name_cannot_move_the_cursor_or_reverse_itself() -> None:
    assert printable("a\x1b[2Jb\u202egnp.exe\nc\x9b") == "a\ufffd[2Jb\ufffdgnp.exe c\ufffd"


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("a\x1b[2J\x1b[Hb", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\link", "alink"),
        ("a\x1bP1$r\x1b\\b\x1bc\x07\x08", "ab"),
        ("\x9b2Ja\tb\r\n", "2Ja\tb\r\n"),
        ("a\x1b", "a"),
        ("a\x1b[3", "a"),
    ],
)
def test_of_a_log_only_colours_reach_the_terminal(log: str, shown: str) -> None:
    assert safe_for_terminal(log) == shown
