"""A certificate authority that lives for one test, and certificates of every good and bad kind from it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates into files under its folder."""

    def __init__(self, folder: Path, now: dt.datetime | None = None) -> None:
        self.folder = folder / "certificates"
        self.folder.mkdir(exist_ok=True)
        self.now = now or dt.datetime.now(dt.UTC)
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throwaway CA")])
        self.certificate = (
            self._unsigned(name, name, self.key.public_key(), self.now - DAY, self.now + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.root = self.folder / "ca.pem"
        self.root.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, *hosts: str, name: str = "hub", since: dt.datetime | None = None, until: dt.datetime | None = None,
        common_name: str = "", organization: str | None = None,
    ) -> tuple[Path, Path]:  # fmt: skip
        """The files of a certificate for these hosts (or, without any, for a client by that name), and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = [x509.NameAttribute(NameOID.COMMON_NAME, common_name or hosts[0])]
        named += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        subject = x509.Name(named)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        unsigned = (
            self._unsigned(
                subject, self.certificate.subject, key.public_key(), since or self.now - DAY,
                until or self.now + 90 * DAY,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(issuer, critical=False)
        )  # fmt: skip
        if hosts:
            names = x509.SubjectAlternativeName([_general(host) for host in hosts])
            unsigned = unsigned.add_extension(names, critical=False)
        made = unsigned.sign(self.key, hashes.SHA256())
        chain, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        secret.chmod(0o600)
        return chain, secret

    def serving(self, *hosts: str) -> ssl.SSLContext:
        """What a server of these hosts speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*hosts))
        return context

    def trusting(self) -> ssl.SSLContext:
        """What a client that trusts this authority speaks TLS with."""
        return ssl.create_default_context(cafile=str(self.root))

    @staticmethod
    def _unsigned(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: dt.datetime, until: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
