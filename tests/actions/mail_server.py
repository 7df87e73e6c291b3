"""A mail server on loopback that refuses what a test tells it to, with a certificate of a throwaway authority."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ONE_HOUR = dt.timedelta(hours=1)


class Mailbox:
    """What arrived, and what is said to whom instead of taking it."""

    def __init__(self) -> None:
        self.refuses: dict[str, str] = {}
        self.arrived: list[Envelope] = []
        self.was_encrypted: list[bool] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.arrived.append(envelope)
        self.was_encrypted.append(session.ssl is not None)
        return "250 taken"

    def message(self, which: int = -1) -> EmailMessage:
        content = self.arrived[which].content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message


def sign_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    """Takes one user and password."""
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"hub", b"p@ss word")
    return AuthResult(success=good, handled=False)


@contextmanager
def running(mailbox: Mailbox, *, ssl_context: ssl.SSLContext | None = None, **options: Any) -> Iterator[int]:
    """The server, on a free port of this machine and in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mail server")
    thread.start()

    async def begin() -> asyncio.Server:
        return await loop.create_server(
            lambda: SMTP(mailbox, hostname="localhost", loop=loop, **options), "127.0.0.1", 0, ssl=ssl_context
        )

    async def end(server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A throwaway authority's certificate, and a server's context with one it gave to `localhost`."""
    now = dt.datetime.now(dt.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throwaway authority")])
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - ONE_HOUR).not_valid_after(now + ONE_HOUR)

    ca = begin(issuer, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = begin(own, key.public_key()).add_extension(names, critical=False)
    ca_file, chain = folder / "authority.pem", folder / "server.pem"
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return ca_file, context
