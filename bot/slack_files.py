"""Files that hung on a message: fetched from Slack when a command names them, sent to the hub as the person's own."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import httpx

from bot import private
from bot.hub_client import HubClient
from bot.problems import INVALID, UNAVAILABLE, Problem
from bot.slack_spoken import File
from bot.uploads import Offered, digest_of, upload

FILE_BYTES = 100 * 1024 * 1024
_FETCH_SECONDS = 60.0
_LOOKED_AT_BYTES = 256 * 1024  # a key is short, and stands alone or in a script


class SlackUploads:
    """The files of one message. The token goes to Slack's own hosts and nowhere else."""

    def __init__(self, files: Sequence[File], folder: Path, token: str, api_url: str) -> None:
        self._files = {PurePath(one.name).name or one.id: one for one in files}
        self._folder = folder
        self._token = token
        self._api_url = api_url
        self._fetched: dict[str, Path] = {}

    def find(self, name: str) -> Offered | None:
        one = self._files.get(name)
        if one is None:
            return None
        if name not in self._fetched:
            self._fetched[name] = self._fetch(one, name)
        source = self._fetched[name]
        return Offered(name, source, source.stat().st_size)

    def names(self) -> list[str]:
        return sorted(self._files)

    def send(self, hub: HubClient, offered: Offered, session: str | None) -> str:
        digest = digest_of(offered.source)
        with offered.source.open("rb") as content:
            return upload(hub, content, offered.size_bytes, name=offered.path, session=session, digest=digest)

    def _fetch(self, one: File, name: str) -> Path:
        if one.size_bytes > FILE_BYTES:
            raise _too_large(name)
        if one.mode not in ("hosted", "snippet", "post") or not self._is_slacks(one.url):
            raise Problem(
                "file_elsewhere", f"{name} is not kept by Slack, so it cannot be fetched from here.",
                hint="Upload the file itself.", exit_code=INVALID,
            )  # fmt: skip
        place = self._folder / f"{len(self._fetched)}"
        try:
            self._download(one, name, place)
        except httpx.HTTPError as error:
            raise Problem(
                "file_not_fetched", f"{name} could not be fetched from Slack.", exit_code=UNAVAILABLE, hint="Try again."
            ) from error
        with place.open("rb") as kept:
            begins = kept.read(_LOOKED_AT_BYTES).decode("latin-1")
        if (secret := private.problem_in(begins)) is not None:
            place.unlink()
            raise secret
        return place

    def _download(self, one: File, name: str, place: Path) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with (
            httpx.Client(timeout=_FETCH_SECONDS, follow_redirects=False) as http,
            http.stream("GET", one.url, headers=headers) as response,
            place.open("wb") as kept,
        ):
            if response.status_code != 200:
                raise Problem(
                    "file_not_fetched", f"Slack does not give out {name}.", exit_code=UNAVAILABLE, hint="Try again."
                )
            size = 0
            for piece in response.iter_bytes():
                size += len(piece)
                if size > FILE_BYTES:
                    raise _too_large(name)
                kept.write(piece)
        # Without the scope, Slack answers 200 with the page of its sign-in form.
        if one.size_bytes and size != one.size_bytes:
            raise Problem(
                "file_not_fetched", f"Slack gave out something else than {name}.", exit_code=UNAVAILABLE,
                hint="The app needs the scope files:read.",
            )  # fmt: skip

    def _is_slacks(self, url: str) -> bool:
        given, ours = urlsplit(url), urlsplit(self._api_url)
        host = given.hostname or ""
        if (given.scheme, given.netloc) == (ours.scheme, ours.netloc):
            return True
        return given.scheme == "https" and (host == "slack.com" or host.endswith((".slack.com", ".slack-files.com")))


def _too_large(name: str) -> Problem:
    return Problem(
        "file_too_large",
        f"{name} is larger than the {FILE_BYTES // 2**20} MiB that are taken from Slack.",
        hint="Upload it in the browser or with `collegium artifact add`.",
        exit_code=INVALID,
    )
