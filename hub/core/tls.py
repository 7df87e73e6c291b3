"""The front door's certificate: read, held against its key, its host and the clock, before anybody relies on it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from hub.core.errors import InvalidInput

SOON = dt.timedelta(days=14)


class Certificate(msgspec.Struct, frozen=True):
    """What a certificate says."""

    hosts: tuple[str, ...]
    since: dt.datetime
    until: dt.datetime

    def covers(self, host: str) -> bool:
        """Whether it is for this host; `*.lab.org` is for every name directly below `lab.org`."""
        host = host.lower().rstrip(".")
        above = host.partition(".")[2]
        return any(each.lower() == host or (above and each.lower() == f"*.{above}") for each in self.hosts)

    def days_left(self, now: dt.datetime) -> int:
        return (self.until - now).days


def said_by(der: bytes) -> Certificate:
    """What a certificate says that a server showed."""
    return _said(x509.load_der_x509_certificate(der))


def _said(certificate: x509.Certificate) -> Certificate:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    except x509.ExtensionNotFound:
        hosts = []
    return Certificate(tuple(hosts), certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def checked(chain: Path, key: Path, host: str, now: dt.datetime) -> Certificate:
    """The certificate in `chain`, if it can be served with `key` for `host` now. Raises InvalidInput in words."""
    try:
        certificate = x509.load_pem_x509_certificates(_read(chain))[0]
    except (ValueError, IndexError):
        raise InvalidInput(f"{chain} holds no certificate in PEM form", code="bad_certificate") from None
    try:
        secret = load_pem_private_key(_read(key), password=None)
    except TypeError:
        raise InvalidInput(
            f"{key} is locked with a passphrase", code="bad_key", hint="the hub starts by itself; use a key without one"
        ) from None
    except ValueError:
        raise InvalidInput(f"{key} holds no private key in PEM form", code="bad_key") from None
    as_der = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if secret.public_key().public_bytes(*as_der) != certificate.public_key().public_bytes(*as_der):
        raise InvalidInput(
            f"{key} is not the key of {chain}",
            code="key_mismatch",
            hint="certbot names them privkey.pem and fullchain.pem, side by side",
        )
    said = _said(certificate)
    if said.until <= now:
        raise InvalidInput(
            f"{chain} has expired on {said.until:%Y-%m-%d}", code="certificate_expired", hint="renew it, then try again"
        )
    if said.since > now:
        raise InvalidInput(f"{chain} is not valid before {said.since:%Y-%m-%d}", code="certificate_not_yet_valid")
    if not said.covers(host):
        named = ", ".join(said.hosts[:5]) or "no host"
        raise InvalidInput(f"{chain} is for {named}, not for {host}", code="certificate_other_host")
    return said


def context(chain: Path, key: Path) -> ssl.SSLContext:
    """What the front door speaks TLS with. Raises InvalidInput when the files cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    load(made, chain, key)
    return made


def load(into: ssl.SSLContext, chain: Path, key: Path) -> None:
    """Serve these files from the next connection on. Raises InvalidInput, and then the old ones are served on."""
    try:
        into.load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"the certificate {chain} with the key {key} cannot be used: {error}", code="bad_certificate"
        ) from None


def host_as_named(host: str) -> str:
    """An address in its plain spelling, so that it compares with what a certificate says."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}", code="file_unreadable", hint="the hub reads it as its own user"
        ) from None
