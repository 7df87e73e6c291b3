"""Paths, digests, names and metadata: what is accepted, and what is refused with a reason."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.artifacts import rules
from hub.core import limits
from hub.core.errors import InvalidInput

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "results/analysis_2024_01_15.png",
        "a b/c (1).txt",
        "<script>alert(1)</script>.csv",
        "-rf",
        "$(reboot)",
        "a'b\"c;d|e",
        "CON",
        "...",
        "..a/b..",
        ".hidden",
        "ψ/波動.dat",
        "a\\b",
        "a@3",
        "ana/hcl:x",
        "x" * limits.PATH_BYTES,
    ],
)
def test_a_strange_name_is_data_like_any_other(path: str) -> None:
    assert rules.normal_path(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../x", "`..`"),
        ("a/../../x", "`..`"),
        ("a/./x", "`.`"),
        ("a//x", "empty part"),
        ("a/", "empty part"),
        ("a\nb", "control"),
        ("a\x00b", "control"),
        ("a\x7fb", "control"),
        ("a\u0085b", "control"),
        ("a\u2028b", "control"),
        ("gpj.\u202eexe", "control"),
        ("x" * (limits.PATH_BYTES + 1), "longer"),
        ("é" * (limits.PATH_BYTES // 2 + 1), "longer"),
    ],
)
def test_a_path_that_could_escape_or_deceive_is_refused_with_the_reason(path: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules.normal_path(path)
    assert caught.value.code == "bad_path"
    assert reason in caught.value.message
    assert caught.value.path == "$.params.artifact_path"


def test_names_typed_on_different_systems_are_the_same_path() -> None:
    assert rules.normal_path(unicodedata.normalize("NFD", "Übung/é.txt")) == "Übung/é.txt"


@given(st.text())
def test_any_text_is_either_a_safe_path_or_refused(text: str) -> None:
    try:
        path = rules.normal_path(text)
    except InvalidInput:
        return
    assert path and not path.startswith("/") and ".." not in path.split("/")
    assert len(path.encode()) <= limits.PATH_BYTES
    assert rules.normal_path(path) == path


def test_a_digest_is_read_with_and_without_its_algorithm() -> None:
    assert rules.parse_digest(DIGEST) == rules.parse_digest(f"sha256:{DIGEST}") == DIGEST
    assert rules.parse_digest(DIGEST.upper()) == DIGEST


@pytest.mark.parametrize("text", ["", "sha256:", DIGEST[:-1], DIGEST + "0", "md5:" + DIGEST, "g" * 64, DIGEST + "\n"])
def test_anything_else_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules.parse_digest(text)
    assert caught.value.code == "bad_digest"


def test_a_name_is_taken_apart_with_the_whole_as_a_path_first() -> None:
    assert rules.parse_reference("ana/hcl:results/x@y.png@3") == [
        rules.Reference(path="ana/hcl:results/x@y.png@3"),
        rules.Reference(path="ana/hcl:results/x@y.png", number=3),
        rules.Reference(session="ana/hcl", path="results/x@y.png@3"),
        rules.Reference(session="ana/hcl", path="results/x@y.png", number=3),
    ]


def test_a_digest_is_a_name_too() -> None:
    assert rules.parse_reference(f"sha256:{DIGEST}") == [rules.Reference(digest=DIGEST)]
    assert rules.Reference(session="ana/hcl", digest=DIGEST) in rules.parse_reference(f"ana/hcl:sha256:{DIGEST}")


@given(st.text())
def test_any_text_can_be_taken_apart(text: str) -> None:
    assert rules.parse_reference(text)


def test_metadata_is_bounded_in_size_and_depth() -> None:
    rules.check_metadata({"free": {"as": ["you", {"like": 1.5}]}})
    with pytest.raises(InvalidInput) as caught:
        rules.check_metadata({"long": "x" * limits.METADATA_BYTES})
    assert caught.value.code == "metadata_too_large"
    deep: dict[str, object] = {}
    for _ in range(limits.METADATA_DEPTH):
        deep = {"in": deep}
    with pytest.raises(InvalidInput) as caught:
        rules.check_metadata(deep)
    assert caught.value.code == "metadata_too_deep"


def test_tools_and_commit_are_found_in_metadata_when_they_are_what_they_seem() -> None:
    assert rules.tools_in({"tools_used": ["plot", "quantum"]}) == ["plot", "quantum"]
    assert rules.tools_in({"tools_used": "plot"}) == rules.tools_in({"tools_used": [1]}) == rules.tools_in({}) == []
    assert rules.commit_in({"commit_hash": "abc123def456"}) == "abc123def456"
    assert rules.commit_in({"commit": "v1.2"}) == "v1.2"
    assert rules.commit_in({"commit_hash": "<b>"}) is None


@pytest.mark.parametrize(
    ("path", "media_type", "preview"),
    [
        ("a/b.PNG", "image/png", "image"),
        ("t.csv", "text/csv", "table"),
        ("README.md", "text/markdown", "text"),
        ("results.json", "application/json", "text"),
        ("x.svg", "image/svg+xml", "none"),
        ("page.html", "text/html", "text"),
        ("data.h5", "application/x-hdf5", "none"),
        ("Makefile", "application/octet-stream", "none"),
        ("png/readme", "application/octet-stream", "none"),
    ],
)
def test_the_type_follows_from_the_extension_alone(path: str, media_type: str, preview: str) -> None:
    assert rules.media_type_of(path) == media_type
    assert rules.preview_kind(media_type) == preview
