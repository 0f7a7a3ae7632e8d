"""A fresh SSH key per run: Ed25519, OpenSSH format, no passphrase, never used for anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aibemu.files import write_bytes

COMMENT = "aibemu"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """`private` is a file of mode 0600; `public_line` is a line for authorized_keys, without its newline."""

    private: Path
    public_line: str


def generate(directory: Path) -> KeyPair:
    """Make a key pair in `directory` (created if need be): `id_ed25519` and `id_ed25519.pub`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = directory / "id_ed25519"
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    public_line = f"{public.decode()} {COMMENT}"
    write_bytes(private, content, mode=0o600)
    write_bytes(directory / "id_ed25519.pub", f"{public_line}\n".encode())
    return KeyPair(private=private, public_line=public_line)
