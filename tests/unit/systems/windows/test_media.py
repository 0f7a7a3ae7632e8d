"""The stick and the CD, read back by programs that did not write them; the certificate, by OpenSSL."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from aibemu.hypervisor import Media
from aibemu.systems.windows.answers import Answers
from aibemu.systems.windows.login import CERTIFICATE, KEY, fresh_credentials
from aibemu.systems.windows.media import CD, LABEL, STICK, password_of, write_media

NAMES = {
    "Autounattend.xml", "Unattend.xml", "aibemu/setup.ps1", "aibemu/SetupComplete.cmd", "aibemu/winrm.pfx",
    "aibemu/settings.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("machine")
    fresh_credentials(made, "packer")
    answers = Answers(computer="pkrvm1", user="packer", password=password_of(made), facts=None, locale="en-US")
    assert write_media(made, answers) == Media(cdroms=(made / CD,), sticks=(made / STICK,))
    return made


@pytest.fixture(scope="module")
def stick(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What mtools reads from the stick."""
    target = tmp_path_factory.mktemp("stick")
    subprocess.run(["mcopy", "-s", "-n", "-i", folder / STICK, "::*", target], check=True)
    return tree(target)


def tree(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here (./.ci/setup.sh knows its package)")


def test_the_stick_has_its_label_and_all_files(folder: Path, stick: Mapping[str, bytes]) -> None:
    assert set(stick) == NAMES and stick["Autounattend.xml"] == stick["Unattend.xml"]
    shown = subprocess.run(["mlabel", "-s", "-i", folder / STICK, "::"], capture_output=True, text=True, check=True)
    assert re.search(rf"Volume label is {LABEL}\b", shown.stdout)
    assert subprocess.run(["fsck.vfat", "-n", folder / STICK], capture_output=True, check=False).returncode == 0
    with (folder / STICK).open("rb") as file:
        assert file.read(512)[82:90] == b"FAT32   ", "no partition table, and the kind that was seen to be read"


def test_the_cd_has_the_same_files_for_those_who_read_joliet(
    folder: Path, stick: Mapping[str, bytes], tmp_path: Path
) -> None:
    need("isoinfo")
    shown = subprocess.run(["isoinfo", "-J", "-f", "-i", folder / CD], capture_output=True, text=True, check=True)
    assert {line.strip("/") for line in shown.stdout.splitlines()} - {"aibemu"} == NAMES
    for name, content in stick.items():
        read = subprocess.run(["isoinfo", "-J", "-i", folder / CD, "-x", f"/{name}"], capture_output=True, check=True)
        assert read.stdout == content, name
    about = subprocess.run(["isoinfo", "-d", "-i", folder / CD], capture_output=True, text=True, check=True).stdout
    assert f"Volume id: {LABEL}" in about


def test_the_cd_has_the_same_files_for_those_who_read_udf(
    folder: Path, stick: Mapping[str, bytes], tmp_path: Path
) -> None:
    need("7z")
    subprocess.run(["7z", "x", "-tudf", f"-o{tmp_path}", folder / CD], capture_output=True, check=True)
    assert tree(tmp_path) == stick


def test_nobody_else_reads_them(folder: Path) -> None:
    for path in (folder / STICK, folder / CD, *(path for path in (folder / "media").rglob("*") if path.is_file())):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_openssl_reads_the_certificate_and_its_key(folder: Path, stick: Mapping[str, bytes], tmp_path: Path) -> None:
    settings = json.loads(stick["aibemu/settings.json"])
    pfx = tmp_path / "winrm.pfx"
    pfx.write_bytes(stick["aibemu/winrm.pfx"])
    asked: list[str | Path] = ["openssl", "pkcs12", "-in", pfx, "-passin", f"pass:{settings['certificatePassword']}"]
    key = subprocess.run([*asked, "-nocerts", "-noenc"], capture_output=True, text=True, check=True).stdout
    assert "".join((folder / KEY).read_text().splitlines()[1:-1]) in key.replace("\n", "")
    found = subprocess.run([*asked, "-nokeys"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "found.pem").write_text(found)
    for file in (tmp_path / "found.pem", folder / CERTIFICATE):
        shown = subprocess.run(
            ["openssl", "x509", "-in", file, "-noout", "-fingerprint", "-sha1"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert shown.strip().partition("=")[2].replace(":", "") == settings["certificateThumbprint"]
    about = subprocess.run([*asked, "-info", "-noout"], capture_output=True, text=True, check=True).stderr
    # What Windows Server 2016 reads: no AES, and a MAC of SHA-1.
    assert "MAC: sha1" in about and about.count("pbeWithSHA1And3-KeyTripleDES-CBC") == 2


def test_what_setup_reads(folder: Path, stick: Mapping[str, bytes]) -> None:
    settings = json.loads(stick["aibemu/settings.json"])
    assert set(settings) == {
        "user",
        "password",
        "computerName",
        "certificateThumbprint",
        "certificatePassword",
        "readyUrl",
    }
    assert settings["user"] == "packer" and settings["password"] == password_of(folder)
    assert settings["readyUrl"] == "http://168.63.129.16/machine?comp=health"
    assert stick["aibemu/setup.ps1"].startswith(b"\xef\xbb\xbf#") and b"\r\n" in stick["aibemu/setup.ps1"]


def test_two_machines_have_no_secret_in_common(folder: Path, stick: Mapping[str, bytes], tmp_path: Path) -> None:
    fresh_credentials(tmp_path, "packer")
    write_media(
        tmp_path, Answers(computer="b", user="packer", password=password_of(tmp_path), facts=None, locale="en-US")
    )
    ours, theirs = (
        json.loads(content)
        for content in (stick["aibemu/settings.json"], (tmp_path / "media/aibemu/settings.json").read_bytes())
    )
    for name in ("password", "certificatePassword", "certificateThumbprint"):
        assert ours[name] != theirs[name]
