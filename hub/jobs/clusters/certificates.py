"""Certificates by which a person's site lets the hub in for a while: read, and held against what they must say.

A certificate is no secret: without the private half of its key, which lies sealed here, it is good for nothing. It is
refused for whatever would make it more than is needed (too long), or less than works (another key, another name).
"""

from __future__ import annotations

import datetime as dt

import asyncssh
import msgspec
from asyncssh.public_key import SSHOpenSSHCertificate

from hub.core import credentials, limits
from hub.core.errors import InvalidInput
from hub.jobs.clusters import rules
from hub.jobs.clusters.rules import Certificate, moment

WHERE = "$.params.certificate"
_USER = 1  # CERT_TYPE_USER of PROTOCOL.certkeys
_SUFFIX = "-cert-v01@openssh.com"
_UNKNOWN = "Unrecognized critical option: "
_FOREVER = dt.datetime.max.replace(tzinfo=dt.UTC)
# Clocks of a hub and of an authority differ by seconds; only one that begins later than this is for another time.
SKEW = dt.timedelta(seconds=5)
NAMES_SHOWN = 10


class _Read(msgspec.Struct, frozen=True):
    """What a certificate says, and the library's own form of it."""

    said: Certificate
    parsed: SSHOpenSSHCertificate


def read(text: str) -> _Read:
    """Of the text of a `-cert.pub` file. Raises InvalidInput for whatever is none."""
    credentials.refuse_private_keys([(WHERE, text)])
    lines = [each.strip() for each in text.splitlines() if each.strip() and not each.lstrip().startswith("#")]
    words = lines[0].split() if len(lines) == 1 else []
    if not words or not words[0].endswith(_SUFFIX):
        is_key = bool(words) and words[0].startswith(("ssh-", "ecdsa-sha2-", "sk-"))
        said = "this is a public key, and no certificate for it" if is_key else "this is no OpenSSH certificate"
        raise _wrong(said, "certificate_unreadable", "give the one line of the file that ends in -cert.pub")
    line = " ".join(words[:2])
    try:
        parsed = asyncssh.import_certificate(line)
    except (asyncssh.KeyImportError, asyncssh.Error, ValueError, OverflowError) as error:
        # The library says why in the error before this one.
        if (said := str(error.__context__)).startswith(_UNKNOWN):
            raise _wrong(
                f"it has the critical option {_clean(said.removeprefix(_UNKNOWN))!r}, which this hub does not know",
                "certificate_option",
                "have it signed without; source-address is the one that may stand there",
            ) from None
        raise _unreadable() from None
    if not isinstance(parsed, SSHOpenSSHCertificate):
        raise _unreadable()
    try:
        signer = rules.fingerprint(parsed.signing_key.export_public_key().decode())
    except (asyncssh.KeyExportError, ValueError):
        raise _unreadable() from None
    addresses = parsed.options.get("source-address")
    stated = Certificate(
        line=line,
        key_id=_clean(parsed._key_id),
        serial=str(parsed._serial),
        principals=tuple(parsed.principals),
        signer=signer,
        begins=_moment(parsed._valid_after),
        ends=_moment(parsed._valid_before),
        addresses=tuple(str(each) for each in addresses) if isinstance(addresses, list) else (),
    )
    return _Read(stated, parsed)


def check(text: str, public_key: str, login: str, now: dt.datetime) -> Certificate:
    """What a certificate says that may sign in as `login` with this key now. Raises InvalidInput with the reason."""
    found = read(text)
    said, parsed = found.said, found.parsed
    if parsed._cert_type != _USER:
        raise _wrong(
            "this is the certificate of a host, and signs nobody in",
            "certificate_of_host",
            "ssh-keygen makes one for a person without -h",
        )
    if parsed.key.public_data != asyncssh.import_public_key(public_key).public_data:
        raise _wrong(
            f"it is for the key {_print(parsed.key)}, and not for the one that this hub made for you, "
            f"{rules.fingerprint(public_key)}",
            "certificate_other_key",
            "have the public key signed that is shown with the account",
        )
    if login not in said.principals:
        named = ", ".join(_clean(each) for each in said.principals[:NAMES_SHOWN]) or "nobody"
        raise _wrong(
            f"it is for {named}, and not for {login}", "certificate_other_login", f"with ssh-keygen: -n {login}"
        )
    if command := parsed.options.get("force-command"):
        raise _wrong(
            f"it runs {_clean(str(command))!r} in the place of every command (force-command), so no job could be sent",
            "certificate_forces_command",
            "have it signed without force-command",
        )
    _check_times(said, now)
    return said


def _check_times(said: Certificate, now: dt.datetime) -> None:
    clock = f"by this hub's clock it is {moment(now)}"
    if said.ends <= now:
        raise _wrong(f"it ended at {moment(said.ends)}; {clock}", "certificate_ended", "have a new one signed")
    if said.begins > now + SKEW:
        raise _wrong(
            f"it begins at {moment(said.begins)} and not before; {clock}",
            "certificate_not_yet",
            "give it again then; if it should be good now, one of the two clocks is wrong",
        )
    if said.ends - now > dt.timedelta(days=limits.CERTIFICATE_DAYS):
        until = "for ever" if said.ends == _FOREVER else f"until {moment(said.ends)}"
        raise _wrong(
            f"it is good {until}, which is not short-lived: at most {limits.CERTIFICATE_DAYS} days from now",
            "certificate_too_long",
            "with ssh-keygen: -V +12h",
        )


def certified(private: bytes, line: str) -> tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
    """The key and its certificate, as a connection offers them."""
    return asyncssh.import_private_key(private), asyncssh.import_certificate(line)


def _moment(seconds: int) -> dt.datetime:
    return _FOREVER if seconds >= int(_FOREVER.timestamp()) else dt.datetime.fromtimestamp(seconds, dt.UTC)


def _print(key: asyncssh.SSHKey) -> str:
    return rules.fingerprint(key.export_public_key().decode())


def _clean(text: str) -> str:
    """Words of somebody else's, as one harmless line."""
    return "".join(each if each.isprintable() else "�" for each in text[:200])


def _unreadable() -> InvalidInput:
    return _wrong(
        "this certificate is damaged, or of a kind that is not known here",
        "certificate_unreadable",
        "give the one line of the file that ends in -cert.pub, in one piece",
    )


def _wrong(said: str, code: str, hint: str) -> InvalidInput:
    return InvalidInput(f"{said}; nothing was saved", code=code, path=WHERE, hint=hint)
