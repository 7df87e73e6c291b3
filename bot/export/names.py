"""File names that hold on every system: what a session calls a thing becomes a path that cannot leave its folder.

A name keeps what it can: letters of every script stay, what some system forbids becomes `_`. Two names that a
case-insensitive file system would take for one are told apart by `~2`. The same names come out in a later run, because
those given before are handed in again.
"""

import unicodedata
from collections.abc import Mapping

NAME_BYTES = 120
_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"}
)


def safe(name: str) -> str:
    """One name without anything a file system could trip over; never empty, `.` or `..`."""
    text = unicodedata.normalize("NFC", name)
    text = "".join("_" if _is_trouble(char) else char for char in text)
    text = text.lstrip(" ").rstrip(" .")
    stem, dot, ending = text.rpartition(".")
    if not stem:
        stem, dot, ending = text, "", ""
    if len(ending.encode()) > 16:
        stem, dot, ending = text, "", ""
    text = (_cut(stem, NAME_BYTES - len((dot + ending).encode())) + dot + ending).rstrip(" .")
    if text.partition(".")[0].rstrip().lower() in _RESERVED:
        text = "_" + text
    return text or "_"


def _is_trouble(char: str) -> bool:
    """Forbidden somewhere, or not to be seen: controls, direction overrides, odd spaces, halves of characters."""
    return char in _FORBIDDEN or (char != " " and unicodedata.category(char)[0] in "CZ")


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")


class Names:
    """The paths given so far below one folder, all with `/`."""

    def __init__(self, folders: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None) -> None:
        # What a folder was called, by its path; the path of a file, by what it is.
        self.folders = dict(folders or {})
        self.files = dict(files or {})
        self._taken = {path.casefold(): path for path in (*self.folders, *self.files.values())}

    def reserve(self, path: str) -> None:
        """Never give this path."""
        self._taken.setdefault(path.casefold(), path)

    def folder(self, parent: str, name: str, what: str = "") -> str:
        """The folder for `name` in `parent`; the same again for the same `what` (else the name itself)."""
        called = what or name
        for path, known in self.folders.items():
            if known == called and path.rpartition("/")[0] == parent:
                return path
        path = self._free(parent, safe(name))
        self.folders[path] = called
        return path

    def file(self, parent: str, name: str, what: str) -> str:
        """A path for the file that is `what`: its name may hold folders of its own."""
        if what in self.files:
            return self.files[what]
        *above, last = [part for part in name.split("/") if part] or ["_"]
        for part in above:
            parent = self.folder(parent, part)
        path = self.files[what] = self._free(parent, safe(last))
        return path

    def _free(self, parent: str, name: str) -> str:
        stem, dot, ending = name.rpartition(".")
        if not stem:
            stem, dot, ending = name, "", ""
        count, path = 1, _joined(parent, name)
        while path.casefold() in self._taken:
            count += 1
            path = _joined(parent, f"{stem}~{count}{dot}{ending}")
        self._taken[path.casefold()] = path
        return path


def _joined(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name
