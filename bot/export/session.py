"""One session into its folder: entries with their signatures, drafts and files with their versions, jobs, talk, people.

What never changes (a version, an ended job) is fetched once; all else is read again in every run.
"""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from bot.export import pages
from bot.export.folder import ExportFolder
from bot.hub_client import HubClient, NoAnswer
from bot.hub_views import ENDED
from bot.problems import NOT_ALLOWED, NOT_FOUND, Problem

View = dict[str, Any]
ATTEMPTS = 6
MESSAGES = 500


class SessionExport:
    """One session on its way out. `look` finds what there is; `carry_out` brings it."""

    def __init__(self, hub: HubClient, folder: ExportFolder, session: View) -> None:
        self._hub, self._folder, self._session = hub, folder, session
        self._at = f"/api/sessions/{session['id']}"
        self._versions: list[View] = []
        self._left_out: list[str] = []
        self._lies: dict[str, str] = {}  # where a version of a file or a draft lies in this export, by its id
        owner, _, name = session["name"].partition("/")
        above = folder.names.folder("", owner)
        self.place = folder.names.folder(above, name, session["id"])

    def look(self) -> int:
        """Find the files and give them their names; returns how many bytes they have."""
        newest = sorted(self._pages(f"{self._at}/artifacts", "artifacts"), key=lambda one: str(one["path"]))
        for one in newest:
            versions = [one]
            if one["number"] > 1:
                versions = list(self._pages(f"/api/artifacts/{one['id']}/versions", "artifacts"))
            self._versions += versions
        artifacts, older = f"{self.place}/artifacts", f"{self.place}/older"
        names, latest = self._folder.names, {one["id"] for one in newest}
        for one in self._versions:
            if one["kind"] != "stored":
                continue
            # A newest version moves to `older` when there is a newer one; the bytes are known by their digest.
            place = (
                names.file(artifacts, one["path"], f"{self.place}:{one['path']}")
                if one["id"] in latest
                else names.file(older, _numbered(one["path"], one["number"]), one["id"])
            )
            self._lies[one["id"]] = place
        return sum(one["size"] for one in self._versions if one["id"] in self._lies)

    def carry_out(self, report: Callable[[int], None], say: Callable[[str], None]) -> View:
        """Bring all of it; returns what there is, for the manifest."""
        for one in self._versions:
            if one["id"] in self._lies:
                say(one["path"])
                self._bring(one, report)
        info = [self._info(one) for one in self._versions]
        self._write("artifacts.json", info)
        # Before the entries, which say where the draft lies that they came from.
        drafts = sum(self._draft(row, say) for row in self._allowed("drafts", f"{self._at}/drafts") or [])
        entries = list(self._pages(f"{self._at}/entries", "entries"))
        for row in entries:
            self._entry(row, say)
        jobs = list(self._pages(f"{self._at}/jobs", "jobs"))
        for row in jobs:
            self._job(row, say)
        said = self._messages()
        self._experiments()
        self._about()
        return {
            "folder": self.place, "title": self._session["title"], "entries": len(entries), "jobs": len(jobs),
            "files": len({one["path"] for one in self._versions}), "versions": len(self._versions),
            "drafts": drafts, "messages": said, "left_out": self._left_out,
        }  # fmt: skip

    def _bring(self, one: View, report: Callable[[int], None]) -> None:
        self._folder.fetch(
            self._lies[one["id"]],
            one["digest"].removeprefix("sha256:"),
            one["size"],
            lambda offset: _patient(lambda have: self._hub.content(one["id"], offset=have), offset, one["size"]),
            self._what(one),
            called=one["path"],
            report=report,
        )

    def _what(self, one: View) -> str:
        is_newest = self._lies[one["id"]].startswith(f"{self.place}/artifacts/")
        return f"{self.place}:{one['path']}" if is_newest else str(one["id"])

    def _info(self, one: View) -> View:
        """All that is known of a version of a file, and what it was made from."""
        full: View = self._view(f"/api/artifacts/{one['id']}")
        lineage = self._view(f"/api/artifacts/{one['id']}/lineage")
        for gone in ("preview", "newest", "pinned", "session", "url", "words", "name"):
            full.pop(gone, None)
        full["author"] = full["author"]["handle"]
        full["made_from"] = sorted(
            {edge["source"] for edge in lineage["edges"] if edge["target"] in (one["id"], one["job"])}
        )
        full["file"] = self._lies.get(one["id"])
        return full

    def _entry(self, row: View, say: Callable[[str], None]) -> None:
        say(f"entry {row['number']}")
        newest = self._view(f"/api/entries/{row['id']}")
        home = self._folder.names.folder(f"{self.place}/entries", f"n{row['number']}-{row['title'][:60]}", row["id"])
        for version in newest["versions"]:
            stamp = f"{version['digest']}:{version['signatures']}"
            what = f"{row['id']}@{version['version']}"
            if self._folder.has(what, stamp) is None:
                self._version(row["id"], version["version"], home, what, stamp)

    def _version(self, entry_id: str, number: int, home: str, what: str, stamp: str) -> None:
        entry = self._view(f"/api/entries/{entry_id}", version=number)
        proof = self._view(f"/api/entries/{entry_id}/verification", version=number)
        body = base64.b64decode(proof["body"])
        self._folder.write(f"{home}/v{number}.body", body, f"{what}:body", called=entry["name"])
        for place, signed in enumerate(proof["signatures"], 1):
            view = signed["signature"]
            name = f"v{number}-{place}-{view['signer']['handle']}-{view['meaning']}"
            envelope, public = base64.b64decode(signed["envelope"]), bytes.fromhex(signed["public"])
            covered, signature = pages.signed_parts(envelope)
            for ending, content in (
                ("dsse.json", envelope), ("pae", covered), ("sig", signature), ("pem", pages.pem(public)),
            ):  # fmt: skip
                where = self._folder.names.file(f"{home}/signatures", f"{name}.{ending}", f"{view['id']}.{ending}")
                self._folder.write(where, content, f"{view['id']}.{ending}", called=entry["name"])
        page = pages.entry_page(entry, proof, self._lies)
        # The page comes last: where it stands, all of its version stands.
        self._folder.write(f"{home}/v{number}.md", page.encode(), what, called=entry["title"], stamp=stamp)

    def _draft(self, row: View, say: Callable[[str], None]) -> int:
        """A draft's text as it is now and in every version; returns 0 when it was removed meanwhile."""
        say(f"draft {row['number']}")
        draft = self._allowed(f"draft {row['number']}", f"/api/drafts/{row['id']}")
        if draft is None:
            return 0
        home = self._folder.names.folder(f"{self.place}/drafts", f"d{row['number']}-{row['name'][:60]}", row["id"])
        for version in reversed(draft["versions"]):
            where, kept = f"{home}/v{version['number']}.md", version["sha256"]
            if self._folder.has(version["id"], kept) is None:
                text = self._view(f"/api/drafts/{row['id']}/versions/{version['number']}")["text"]
                self._folder.write(where, text.encode(), version["id"], called=version["name"], stamp=kept)
            version["file"] = self._lies[version["id"]] = where
            version["author"] = version["author"]["handle"]
        text = f"{home}/text.md"
        self._folder.write(text, draft.pop("text").encode(), f"{row['id']}:text", called=draft["name"])
        for gone in ("session", "epoch", "may_write", "url"):
            draft.pop(gone, None)
        draft["created_by"] = draft["created_by"]["handle"]
        self._folder.write(f"{home}/draft.json", _json({**draft, "file": text}), row["id"], called=draft["name"])
        return 1

    def _job(self, row: View, say: Callable[[str], None]) -> None:
        say(f"job {row['number']}")
        home = self._folder.names.folder(f"{self.place}/jobs", f"{row['number']}-{row['name'][:60]}", row["id"])
        stamp = row["state"] if row["state"] in ENDED else ""
        if stamp and self._folder.has(row["id"], stamp):
            return
        job = self._view(f"/api/jobs/{row['id']}")
        log = b"".join(piece.content for piece in self._hub.log(row["id"]))
        self._folder.write(f"{home}/log.txt", log, f"{row['id']}:log", called=row["ref"])
        job["submitted_by"] = job["submitted_by"]["handle"]
        for output in job["outputs"]:
            output["file"] = self._lies.get(output["version"])
        # An ended job whose log is still coming is looked at again next time.
        stamp = stamp if job["log_done"] else ""
        self._folder.write(f"{home}/job.json", _json(job), row["id"], called=row["ref"], stamp=stamp)

    def _messages(self) -> int:
        known: dict[str, View] = {}
        after = 0
        while True:
            page = self._view(f"{self._at}/messages", after=after, limit=MESSAGES)
            # One that was changed while we read comes again, as it is now.
            known |= {one["id"]: one for one in page["messages"]}
            if not page["messages"] or page["messages"][-1]["change"] >= page["head"]:
                break
            after = page["messages"][-1]["change"]
        said = sorted(known.values(), key=lambda one: one["sequence"])
        if said:
            rows = [
                {"sequence": one["sequence"], "id": one["id"], "at": one["at"], "author": one["author"]["handle"],
                 "author_name": one["author"]["name"], "text": one["text"], **_placed(one)}
                for one in said
            ]  # fmt: skip
            self._write("messages.json", rows)
            self._folder.write(
                f"{self.place}/messages.txt", pages.messages_page(said).encode(), f"{self.place}:messages.txt"
            )
        return len(said)

    def _experiments(self) -> None:
        found = self._allowed("experiments", f"{self._at}/experiments")
        if found:
            self._write("experiments.json", found)

    def _about(self) -> None:
        people = self._view(f"{self._at}/participants")
        links = self._allowed("links", f"{self._at}/links") or []
        self._write(
            "session.json",
            {
                "name": self._session["name"],
                "title": self._session["title"],
                "created": self._session.get("created"),
                "people": [
                    {"handle": one["person"]["handle"], "name": one["person"]["name"], "role": one["role"],
                     "via": one["via"], "expires": one["expires"]}
                    for one in people["participants"]
                ],
                "invited": [{"role": one["role"], "since": one["created"]} for one in people["invitations"]],
                "links": links,
                "left_out": self._left_out,
            },
        )  # fmt: skip

    def _allowed(self, name: str, path: str) -> Any:
        """A part that not everybody who may read a session may read; what is refused is said."""
        try:
            return self._view(path)
        except Problem as problem:
            if problem.exit_code not in (NOT_ALLOWED, NOT_FOUND):
                raise
            self._left_out.append(f"{name}: {problem.detail}")
            return None

    def _write(self, name: str, data: Any) -> None:
        self._folder.write(f"{self.place}/{name}", _json(data), f"{self.place}:{name}")

    def _view(self, path: str, **query: str | int | None) -> Any:
        return self._hub.view(path, object, **query)

    def _pages(self, path: str, key: str) -> Iterator[View]:
        cursor = None
        while True:
            page = self._view(path, cursor=cursor)
            yield from page[key]
            cursor = page.get("cursor")
            if not cursor:
                return


def sessions_of(hub: HubClient) -> list[View]:
    """Every session of the person who asks, whatever their number."""
    found: dict[str, View] = {}
    before = "newest"
    while True:
        page = hub.view("/api/sessions", list[View], before=before)
        found.update((one["id"], one) for one in page)
        if not page:
            return sorted(found.values(), key=lambda one: str(one["name"]))
        before = page[-1]["id"]


def _numbered(path: str, number: int) -> str:
    """`data/levels.csv` at version 3 is `data/levels@3.csv`."""
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    stem, tail = (stem, dot + ending) if stem else (name, "")
    return f"{folder}{slash}{stem}@{number}{tail}"


def _patient(read: Callable[[int], Iterator[bytes]], offset: int, size: int) -> Iterator[bytes]:
    """Bytes from `offset` to the end; a connection that breaks is taken up again where it broke."""
    fruitless = 0
    while offset < size:
        before = offset
        try:
            for piece in read(offset):
                offset += len(piece)
                yield piece
        except NoAnswer:
            if fruitless >= ATTEMPTS:
                raise
        fruitless = 0 if offset > before else fruitless + 1
        if fruitless > ATTEMPTS:
            return


def _json(data: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n"


def _placed(message: View) -> View:
    """What else a message has: whom it was for, where it belongs, what became of it."""
    optional = ("thread", "about", "edited", "removed", "reactions")
    kept: View = {name: message[name] for name in optional if name in message}
    return {**kept, "to": message["to"]["handle"]} if "to" in message else kept
