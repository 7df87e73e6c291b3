"""A file under version: its digest, its versions, what it was made from."""

from bot import words
from bot.cards import Next, Reply, Row, Table, fields
from bot.faces.who import at, by_at, called, session_of
from bot.hub_views import Artifact, Artifacts, Lineage, MadeArtifact


def artifact_card(one: Artifact) -> Reply:
    """A file at one version: its digest first, because that is its name."""
    return Reply(
        sentence=_artifact_sentence(one),
        named=f"a file, version {one.number}, {words.size(one.size)}, by {called(one.author)}",
        ident=f"a file, version {one.number}",
        title=f"{one.path} · version {one.number}",
        session=session_of(one.name),
        fields=fields(
            size=words.size(one.size),
            sha256=_hexadecimal(one.digest),
            kept=one.words,
            added=by_at(one.author, one.at),
            shows=one.alt,
        ),
        next=(Next("get it", ("artifact", "get", one.name.rpartition("@")[0] or one.path)),),
        url=one.url,
        is_private=False,
        data=one,
    )


def made_card(one: MadeArtifact, session: str) -> Reply:
    """A version that was just recorded."""
    called = f"{session}:{one.path}"
    return Reply(
        sentence=f"{one.path} version {one.number}, {words.size(one.size)}, sha256 {words.short_digest(one.digest)}",
        named=f"a file is kept, version {one.number}, {words.size(one.size)}",
        ident=f"a file, version {one.number}",
        title=f"{one.path} · version {one.number}",
        session=session,
        fields=fields(size=words.size(one.size), sha256=_hexadecimal(one.digest)),
        next=(
            Next("see its versions", ("artifact", "log", called)),
            Next("get it", ("artifact", "get", called)),
        ),
        url=one.url,
        is_private=False,
        data=one,
    )


def log_card(one: Artifact, versions: Artifacts, lineage: Lineage) -> Reply:
    """The versions of a file, newest first, and what the one that was asked for is made from."""
    rows = tuple(
        Row(
            (str(v.number), words.size(v.size), words.short_digest(v.digest or ""), called(v.author), at(v.at)),
            f"{_artifact_sentence(v)}, {by_at(v.author, v.at)}",
        )
        for v in versions.artifacts
    )
    return Reply(
        sentence=f"{one.path}: {words.counted(len(rows), 'version')}" + (" and more." if versions.cursor else "."),
        named=f"a file with {words.counted(len(rows), 'version')}",
        ident=f"a file with {words.counted(len(rows), 'version')}",
        title=one.path,
        session=session_of(one.name),
        fields=fields(made_from=words.listed(_sources(one.id, lineage), at_most=20)),
        table=Table(("version", "size", "sha256", "by", "at"), rows),
        url=one.url,
        data={"artifact": one, "versions": versions, "lineage": lineage},
    )


def artifact_row(one: Artifact) -> Row:
    return Row(
        (one.path, str(one.number), words.size(one.size), at(one.at), words.short_digest(one.digest or "")),
        f"{_artifact_sentence(one)}, {by_at(one.author, one.at)}",
    )


def _sources(version: str, lineage: Lineage) -> list[str]:
    """The names of what a version was made from; through the job that made it, if one did."""
    nodes = {node.id: node for node in lineage.nodes}
    found: list[str] = []
    for before in (edge.source for edge in lineage.edges if edge.target == version):
        if before in nodes and nodes[before].kind == "job":
            found += [e.source for e in lineage.edges if e.target == before]
        else:
            found.append(before)
    return [f"{nodes[each].label} {nodes[each].detail}" for each in dict.fromkeys(found) if each in nodes]


def _artifact_sentence(one: Artifact) -> str:
    digest = f"sha256 {words.short_digest(one.digest)}" if one.digest else "not verified"
    return f"{one.path} version {one.number}, {words.size(one.size)}, {digest}"


def _hexadecimal(digest: str | None) -> str:
    return (digest or "").removeprefix("sha256:")
