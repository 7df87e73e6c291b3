"""The envelope a signature travels in: DSSE, one Ed25519 signature over the payload's very bytes.

An envelope is kept as the bytes it came in. DSSE signs the payload with its type and length in front (PAE), so no
JSON has to be made canonical to check it. Format: github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey
from securesystemslib.signer._signature import Signature

from hub.core.errors import InvalidInput

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_BYTES = 512 * 1024

_FIELD_PRIME = 2**255 - 19
# Points of small order make a public key under which one signature fits almost any message. Their y-coordinates on
# RFC 8032's curve are 0, 1, -1 and the two of order 8; 0 and 1 can also be written above the prime.
_ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = frozenset((0, 1, _FIELD_PRIME - 1, _FIELD_PRIME, _FIELD_PRIME + 1, _ORDER_8, _FIELD_PRIME - _ORDER_8))


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: str
    payloadType: str
    signatures: tuple[_Signature, ...]


class Sealed(msgspec.Struct, frozen=True):
    """What an envelope holds, decoded but not yet believed."""

    payload: bytes
    payload_type: str
    key: str
    signature: bytes


class KeyPair(msgspec.Struct, frozen=True):
    """A new Ed25519 key: 32 bytes each."""

    private: bytes
    public: bytes


def make_key() -> KeyPair:
    private = Ed25519PrivateKey.generate()
    return KeyPair(
        private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()),
        private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
    )


def seal(payload: bytes, private: bytes, key: str) -> bytes:
    """The envelope of `payload`, signed with the 32 bytes of a private key whose id is `key`."""
    secret = Ed25519PrivateKey.from_private_bytes(private)
    public = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(secret, _public_key(key, public)))
    return msgspec.json.encode(envelope.to_dict(), order="sorted")


def unseal(envelope: bytes) -> Sealed:
    """Take an envelope apart; InvalidInput says what is wrong with it.

    It carries exactly one signature: one envelope, one statement, one signer.
    """
    if len(envelope) > ENVELOPE_BYTES:
        raise _not_an_envelope(f"it is longer than {ENVELOPE_BYTES:,} bytes")
    try:
        outer = msgspec.json.decode(envelope, type=_Envelope)
        if len(outer.signatures) != 1:
            raise _not_an_envelope(f"it carries {len(outer.signatures)} signatures instead of one")
        return Sealed(
            base64.b64decode(outer.payload, validate=True),
            outer.payloadType,
            outer.signatures[0].keyid,
            base64.b64decode(outer.signatures[0].sig, validate=True),
        )
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as problem:
        raise _not_an_envelope(str(problem)[:200]) from None


def fits(sealed: Sealed, public: bytes) -> bool:
    """Whether the signature is over this payload and type by the owner of this public key."""
    if not is_sound_key(public):
        return False
    envelope = Envelope(sealed.payload, sealed.payload_type, {})
    try:
        _public_key(sealed.key, public).verify_signature(Signature(sealed.key, sealed.signature.hex()), envelope.pae())
    except UnverifiedSignatureError:
        return False
    return True


def to_be_signed(payload: bytes) -> bytes:
    """What Ed25519 signs for this payload: DSSE's pre-authentication encoding."""
    encoded: bytes = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    return encoded


def is_sound_key(public: bytes) -> bool:
    """Whether these are the 32 bytes of an Ed25519 public key that only its owner can sign under."""
    if len(public) != 32:
        return False
    return int.from_bytes(public, "little") & (2**255 - 1) not in _SMALL_ORDER


def _public_key(key: str, public: bytes) -> SSlibKey:
    return SSlibKey(key, "ed25519", "ed25519", {"public": public.hex()})


def _not_an_envelope(reason: str) -> InvalidInput:
    return InvalidInput(f"this is not a DSSE envelope: {reason}", code="bad_envelope")
