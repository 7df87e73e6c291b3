"""What people read of an export without Collegium: entries as Markdown, what was said in the room, and how it all lies.

What people wrote stands as they wrote it; everything about it is in the front matter, as JSON values, which are YAML.
"""

import base64
from typing import Any

import msgspec

from bot import words

README = """\
This folder was exported from Collegium, a hub for research groups: {hub}
It was taken on {at}. Everything in it can be read without Collegium.

OWNER/NAME/                  one folder for each session
  session.json               its title, who takes part by handle and role, links without their secrets
  entries/n1-TITLE/          a notebook entry: v1.md, v2.md, ... are its versions as Markdown with front matter
    v1.body                  the exact bytes of a version that signatures cover
    signatures/              signatures of its versions, see below
  drafts/d1-NAME/            a draft several people wrote: text.md is its text as it was when it was exported
    v1.md, v2.md, ...        its text in the versions that were kept of it
    draft.json               who began it and when, who kept which version, the SHA-256 of each
  artifacts/                 files at their newest version, by their names in the session
  older/                     earlier versions of them: NAME@1, NAME@2, ...
  artifacts.json             every version: digest, author, time, what it was made from, where it lies here
  jobs/1-NAME/               job.json: all that is known of a job; log.txt: what it printed, byte for byte
  messages.txt               what was said in the room; messages.json has the same for programs
  experiments.json           experiments that were run as graphs of tools

manifest.json                what each file is, and what it was called where its name could not be kept
SHA256SUMS                   the SHA-256 of every file

To check that every file is what was exported:

    sha256sum -c SHA256SUMS

To check a signature (SIGNATURE is a name in signatures/ without its ending; OpenSSL 3):

    openssl pkeyutl -verify -pubin -inkey SIGNATURE.pem -rawin -in SIGNATURE.pae -sigfile SIGNATURE.sig

SIGNATURE.pae is what was signed: an in-toto statement (the same is in SIGNATURE.dsse.json, base64 in "payload").
It names the SHA-256 of vN.body as "urn:collegium:entry:body", and of every file the entry cites. So a version is
what was signed when the signature verifies, `sha256sum vN.body` gives the digest it names, and the text in vN.body
(JSON) is the text in vN.md. Whose key it is, only their owner can say: compare the fingerprint in the front matter.
"""

INCOMPLETE = """\
This export is not complete: {reason}

What is here is whole, and SHA256SUMS covers it. Run the same command again to go on: what is here is not fetched again.
"""


def entry_page(entry: dict[str, Any], verification: dict[str, Any], cited: dict[str, str]) -> str:
    """One version of an entry. `cited` says where the cited files, and the draft it came from, lie in this export."""
    signatures = [
        {
            "signer": one["signer"]["handle"], "name": one["signer"]["name"], "meaning": one["meaning"],
            "custody": one["custody_words"], "fingerprint": one["fingerprint"], "stated_at": one["stated_at"],
            "at": one["at"], "ledger_line": one["line"], "valid_when_exported": one["valid"], "words": one["words"],
        }
        for one in (signed["signature"] for signed in verification["signatures"])
    ]  # fmt: skip
    facts = {
        "title": entry["title"],
        "entry": entry["name"],
        "version": entry["version"],
        "author": entry["author"]["handle"],
        "author_name": entry["author"]["name"],
        "at": entry["at"],
        "body_sha256": entry["digest"],
        "tools_used": entry["tools_used"],
        "cites": [
            {"name": one["name"], "sha256": one["digest"], "file": cited.get(one["version_id"])}
            for one in entry["attachments"]
        ],
        **_from_draft(entry.get("draft_version"), cited),
        "signatures": signatures,
        "verification": verification["words"],
    }
    head = "\n".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in facts.items())
    conclusions = f"\n## Conclusions\n\n{entry['conclusions']}\n" if entry["conclusions"] else ""
    return f"---\n{head}\n---\n\n{entry['content']}\n{conclusions}"


def _from_draft(version: str | None, lies: dict[str, str]) -> dict[str, Any]:
    """The version of a shared draft that an entry's text came from; the draft may be gone since."""
    return {} if version is None else {"draft_version": {"id": version, "file": lies.get(version)}}


def messages_page(messages: list[dict[str, Any]]) -> str:
    """What was said, a paragraph each; further lines of a message are set in."""
    return "".join(
        f"[{one['at']}] {one['author']['name']} ({one['author']['handle'] or 'guest'})"
        + (f" to {one['to']['name']} alone" if "to" in one else "")
        + ": "
        + (f"({words.removed_words(one['removed'])})" if "removed" in one else one["text"].replace("\n", "\n    "))
        + (" (edited)" if "edited" in one else "")
        + "\n"
        for one in messages
    )


def pem(public: bytes) -> bytes:
    """An Ed25519 public key as OpenSSL reads it (RFC 8410)."""
    der = bytes.fromhex("302a300506032b6570032100") + public
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"


def signed_parts(envelope: bytes) -> tuple[bytes, bytes]:
    """What the signature of a DSSE envelope covers (its PAE), and the signature."""
    outer = msgspec.json.decode(envelope)
    payload, kind = base64.b64decode(outer["payload"]), outer["payloadType"].encode()
    covered = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    return covered, base64.b64decode(outer["signatures"][0]["sig"])
