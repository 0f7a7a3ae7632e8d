"""Who logs in to a Windows guest: a password, and the certificate that its WinRM server shows."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.communicators import Credentials
from aibemu.files import write_bytes

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

PASSWORD, KEY, CERTIFICATE = "password", "winrm-key.pem", "winrm.pem"
# Of each kind one at least, as Windows' policy wants it; nothing that cmd, XML or PowerShell gives a meaning to.
_KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.digits, "-_.")
_LENGTH = 28
# Generous: the clock of a guest may be years behind its host's.
_FROM, _UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


def fresh_credentials(folder: Path, user: str) -> Credentials:
    """A password and a certificate of this run, in files of `folder` that only their owner reads."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    shown = _certificate(key).public_bytes(serialization.Encoding.PEM)
    return known_credentials(
        folder, user, {PASSWORD: fresh_password(), KEY: private.decode(), CERTIFICATE: shown.decode()}
    )  # fmt: skip


def known_credentials(folder: Path, user: str, secrets: Mapping[str, str]) -> Credentials:
    """Those whose secrets are known, by the names of their files, which are written to `folder`. ValueError for a
    certificate that is none, and for an empty password."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_pem_x509_certificate(secrets[CERTIFICATE].encode())
    if not secrets[PASSWORD]:
        raise ValueError("no password")
    for name in (PASSWORD, KEY, CERTIFICATE):
        write_bytes(folder / name, secrets[name].encode(), mode=0o600)
    return Credentials(
        user=user, password_file=folder / PASSWORD, certificate=certificate.fingerprint(hashes.SHA256()).hex()
    )  # fmt: skip


def fresh_password() -> str:
    """Not to be guessed, and good enough for Windows' policy."""
    letters = [secrets.choice(kind) for kind in _KINDS]
    letters += [secrets.choice("".join(_KINDS)) for _ in range(_LENGTH - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    # A leading dash would be taken for an option.
    return "".join(letters).replace("-", "a", 1) if letters[0] == "-" else "".join(letters)


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Self-signed: the client compares its digest, and nothing else."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aibemu")])
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(_FROM).not_valid_after(_UNTIL)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
