"""The answer file, judged by what Microsoft documents, and by how each kind of image is to be answered."""

from __future__ import annotations

from dataclasses import replace
from xml.dom import minidom
from xml.etree import ElementTree

import pytest

from aibemu.images.windows import WindowsFacts
from aibemu.systems.windows.answers import SPECIALIZE, Answers, answer_file
from tests.unit.systems.windows.documented import ACTION, NAMESPACE, objections
from tests.windows_first_boot import SERVER

CLIENT = replace(SERVER, product="Windows 11 Enterprise", build=22631, installation="Client")
ANSWERS = Answers(computer="pkrvm0123456789", user="packer", password="Aa1-_.x", facts=SERVER, locale="en-US")


def texts(document: bytes, path: str) -> list[str]:
    found = ElementTree.fromstring(document).iter(f"{NAMESPACE}{path}")
    return [element.text or "" for element in found]


@pytest.mark.parametrize("facts", [SERVER, CLIENT, None], ids=["server", "client", "unknown"])
@pytest.mark.parametrize("locale", ["en-US", "de-DE", "sr-Latn-RS"])
def test_each_is_as_documented(facts: WindowsFacts | None, locale: str) -> None:
    document = answer_file(replace(ANSWERS, facts=facts, locale=locale))
    assert list(objections(document)) == []
    assert document.startswith(b'<?xml version="1.0" encoding="utf-8"?>\n<unattend xmlns="urn:schemas-microsoft-com:')


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"pkrvm0123456789", b"pkrvm01234567890", "ComputerName"),
        (b"pkrvm0123456789", b"123", "ComputerName"),
        (b"<TimeZone>UTC", b"<TimeZone>", "TimeZone"),
        (b"<ProtectYourPC>3", b"<ProtectYourPC>4", "ProtectYourPC"),
        (b"HideEULAPage", b"SkipMachineOOBE", "SkipMachineOOBE is not known"),
        (b'pass="specialize"', b'pass="windowsPE"', "not valid in this pass"),
        (b' wcm:action="add"', b"", "RunSynchronousCommand"),
        (b"amd64", b"x86", "component"),
        (b"<settings", b"<!-- a -- b --><settings", "comment"),
        (b"-Stage Specialize", b"-Stage Specialize" + b" " * 40, "Path"),
    ],
)  # fmt: skip
def test_the_judge_sees_what_is_not_documented(old: bytes, new: bytes, why: str) -> None:
    document = answer_file(replace(ANSWERS, facts=None))
    assert document.count(old)
    try:
        found = "\n".join(objections(document.replace(old, new, 2)))
    except ElementTree.ParseError:
        assert b"--" in new
        return
    assert why in found


def test_a_servers_administrator_gets_the_password_and_nobody_is_made() -> None:
    document = answer_file(ANSWERS)
    assert texts(document, "Name") == [] and texts(document, "Value") == ["Aa1-_.x"]


@pytest.mark.parametrize("facts", [CLIENT, None], ids=["client", "unknown"])
def test_elsewhere_the_build_user_is_made(facts: WindowsFacts | None) -> None:
    """On a client Sysprep disables the built-in administrator; a server asks for his password all the same."""
    document = answer_file(replace(ANSWERS, facts=facts))
    assert (texts(document, "Name"), texts(document, "Group")) == (["packer"], ["Administrators"])
    assert texts(document, "Value") == ["Aa1-_.x"] * 2


def test_nobody_is_logged_in_and_nothing_deprecated_is_asked_for() -> None:
    document = answer_file(replace(ANSWERS, facts=None)).decode()
    assert not [word for word in ("AutoLogon", "SkipMachineOOBE", "SkipUserOOBE", "FirstLogon") if word in document]


def test_texts_are_xml_whatever_is_in_them() -> None:
    password = "<&\"'>]]> --"
    document = answer_file(replace(ANSWERS, password=password))
    value = minidom.parseString(document).getElementsByTagName("Value")[0]
    assert value.firstChild is not None and value.firstChild.nodeValue == password


def test_the_setup_is_looked_for_on_every_drive_but_windows_own() -> None:
    letters = SPECIALIZE.partition("(")[2].partition(")")[0].split()
    assert sorted(letters) == [chr(code) for code in range(ord("A"), ord("Z") + 1) if chr(code) != "C"]
    document = ElementTree.fromstring(answer_file(ANSWERS))
    (command,) = document.iter(f"{NAMESPACE}RunSynchronousCommand")
    assert command.get(ACTION) == "add" and texts(answer_file(ANSWERS), "Path") == [SPECIALIZE]
