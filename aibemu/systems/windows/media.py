"""What a Windows machine finds in its drives at its first boot: a stick and a CD, with the same files on both.

Windows' setup looks for an answer file on removable disks first, and on CDs after them. That a stick is read was seen
on a generalised image; a CD is documented (facts: windows-images 3).
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.customizers.windows.texts import filled, packaged, with_mark
from aibemu.disks.fat import write_fat32
from aibemu.fabric.addresses import WIRE
from aibemu.files import replacing
from aibemu.hypervisor import Media
from aibemu.systems.windows.answers import Answers, answer_file
from aibemu.systems.windows.login import CERTIFICATE, KEY, PASSWORD

if TYPE_CHECKING:
    from cryptography import x509

LABEL = "AIBEMU"
STICK, CD, FOLDER = "aibemu.img", "aibemu.iso", "media"
READY_URL = f"http://{WIRE}/machine?comp=health"
# As the one that was seen to be read has them: FAT32 without a partition table.
STICK_BYTES = 64 << 20
_PACKAGE = "aibemu.systems.windows"


def write_media(folder: Path, answers: Answers) -> Media:
    """Make both in `folder`, where `fresh_credentials` left its files. `HostNotReady` without dosfstools or mtools."""
    files = contents(folder, answers)
    stick, disc = folder / STICK, folder / CD
    write_fat32(stick, STICK_BYTES, LABEL, files, folder / FOLDER)
    _write_disc(disc, files)
    return Media(cdroms=(disc,), sticks=(stick,))


def contents(folder: Path, answers: Answers) -> Mapping[str, bytes]:
    """All files, by their path with slashes. Secrets are among them."""
    answer = answer_file(answers)
    password = secrets.token_urlsafe(24)
    certificate, pfx = _certificate(folder, password)
    settings = {
        "user": answers.user, "password": answers.password, "computerName": answers.computer,
        "certificateThumbprint": _thumbprint(certificate), "certificatePassword": password, "readyUrl": READY_URL,
    }  # fmt: skip
    return {
        "Autounattend.xml": answer, "Unattend.xml": answer, "aibemu/setup.ps1": script("setup.ps1"),
        "aibemu/SetupComplete.cmd": packaged(_PACKAGE, "SetupComplete.cmd").replace("\n", "\r\n").encode(),
        "aibemu/winrm.pfx": pfx, "aibemu/settings.json": json.dumps(settings, indent=1).encode(),
    }  # fmt: skip


def script(name: str) -> bytes:
    """One of the scripts, as Windows PowerShell 5.1 reads it."""
    return with_mark(script_text(name).replace("\n", "\r\n"))


def script_text(name: str) -> str:
    """setup.ps1 or leave.ps1, with what both have."""
    return filled(packaged(_PACKAGE, name), {"SHARED": packaged(_PACKAGE, "shared.ps1").rstrip()})


def password_of(folder: Path) -> str:
    """The build user's, from the file that `fresh_credentials` left."""
    return (folder / PASSWORD).read_text(encoding="utf-8")


def _certificate(folder: Path, password: str) -> tuple[x509.Certificate, bytes]:
    """The one that the server will show, and the same with its key. Encrypted in the old way (3DES and SHA-1): Windows
    reads the newer one since Server 2019 only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

    certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    how = (
        PrivateFormat.PKCS12.encryption_builder().kdf_rounds(50_000)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())  # noqa: S303 - see above
        .build(password.encode())
    )  # fmt: skip
    return certificate, pkcs12.serialize_key_and_certificates(b"aibemu", key, certificate, None, how)


def _thumbprint(certificate: x509.Certificate) -> str:
    """What Windows calls a certificate by."""
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name, no protection


def _write_disc(target: Path, files: Mapping[str, bytes]) -> None:
    """UDF and Joliet, for Windows reads both; the plain names of ISO 9660 are for nobody."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, udf="2.60", vol_ident=LABEL)
    try:
        for folder in sorted({name.rpartition("/")[0] for name in files if "/" in name}):
            iso.add_directory(f"/{folder.upper()}", joliet_path=f"/{folder}", udf_path=f"/{folder}")
        for name, content in files.items():
            plain = f"/{name.upper()};1"
            iso.add_fp(io.BytesIO(content), len(content), plain, joliet_path=f"/{name}", udf_path=f"/{name}")
        with replacing(target) as temporary:
            temporary.touch(mode=0o600)
            iso.write(str(temporary))
    finally:
        iso.close()
