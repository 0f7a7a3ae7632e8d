"""What Microsoft documents of the answer file's settings that aibemu uses, apart from aibemu: the judge of its answer
file. There is no schema to be had: Windows' own is part of each image's catalogue, which Windows SIM makes.

Source: learn.microsoft.com/windows-hardware/customize/desktop/unattend, one page for each setting ("Valid Configuration
Passes", "Values"). The components of each pass are also in cschneegans/unattend-generator, resource/Component.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

NAMESPACE = "{urn:schemas-microsoft-com:unattend}"
ACTION = "{http://schemas.microsoft.com/WMIConfig/2002/State}action"
IDENTITY = {
    "processorArchitecture": "amd64", "publicKeyToken": "31bf3856ad364e35", "language": "neutral",
    "versionScope": "nonSxS",
}  # fmt: skip
LOCALE = r"[a-z]{2,3}(-[A-Z][a-z]{3})?-[A-Z]{2}"
Check = Callable[[str], object]


def _is(pattern: str) -> Check:
    return re.compile(pattern, re.DOTALL).fullmatch


def _up_to(length: int) -> Check:
    """A text that is not empty."""
    return lambda text: 0 < len(text) <= length


TRUTH = _is("true|false")
# Component -> path of the setting -> passes in which it is valid, and its values.
SETTINGS: dict[str, dict[str, tuple[set[str], Check]]] = {
    "Microsoft-Windows-Deployment": {
        f"RunSynchronous/RunSynchronousCommand/{name}": ({"specialize", "auditUser"}, check)
        for name, check in {"Description": _up_to(259), "Path": _up_to(259), "Order": _is(r"[1-9]\d{0,2}")}.items()
    },
    "Microsoft-Windows-International-Core": {
        "InputLocale": ({"specialize", "oobeSystem"}, _is(rf"[0-9a-f]{{4}}:[0-9a-f]{{8}}|{LOCALE}")),
        **{name: ({"specialize", "oobeSystem"}, _is(LOCALE)) for name in ("SystemLocale", "UILanguage", "UserLocale")},
    },
    "Microsoft-Windows-Shell-Setup": {
        # At most 15 bytes, and more than digits.
        "ComputerName": (
            {"specialize", "offlineServicing"},
            _is(r"(?!\d+\Z)[^{|}~\[\\\]^':;<=>?@!\"#$%`()+/.,*& ]{1,15}"),
        ),
        "OOBE/HideEULAPage": ({"oobeSystem"}, TRUTH),
        "OOBE/HideOnlineAccountScreens": ({"oobeSystem"}, TRUTH),
        "OOBE/HideWirelessSetupInOOBE": ({"oobeSystem"}, TRUTH),
        "OOBE/ProtectYourPC": ({"oobeSystem"}, _is("[123]")),
        "TimeZone": ({"specialize", "auditSystem", "oobeSystem"}, _up_to(256)),
        **{
            f"UserAccounts/{path}": ({"auditSystem", "oobeSystem"}, check)
            for path, check in {
                "AdministratorPassword/Value": _up_to(127),
                "AdministratorPassword/PlainText": TRUTH,
                # 20 characters of the account itself: NetUserAdd, USER_INFO_0.
                "LocalAccounts/LocalAccount/Name": _is(r'(?!NONE\Z)[^"/\\\[\]:|<>+=;,?*%@]{1,20}'),
                "LocalAccounts/LocalAccount/Group": _is("[A-Za-z ]+(;[A-Za-z ]+)*"),
                "LocalAccounts/LocalAccount/Password/Value": _up_to(127),
                "LocalAccounts/LocalAccount/Password/PlainText": TRUTH,
            }.items()
        },
    },
}
# Elements that may come more than once: each is marked as added.
LISTS = {"RunSynchronousCommand", "LocalAccount"}


def objections(document: bytes) -> Iterator[str]:
    """What in the file is not as documented."""
    if b"<!--" in document:
        yield "a comment, in which two hyphens are a mistake that Windows' setup refuses the whole file for"
    root = ElementTree.fromstring(document)
    if root.tag != f"{NAMESPACE}unattend":
        yield f"the root is {root.tag}"
    seen: set[tuple[str, str]] = set()
    for settings in root:
        where = settings.get("pass", "")
        if settings.tag != f"{NAMESPACE}settings" or set(settings.attrib) != {"pass"}:
            yield f"{settings.tag} {settings.attrib}"
        for component in settings:
            given = dict(component.attrib)
            name = given.pop("name", "")
            if (where, name) in seen:
                yield f"{name} twice in {where}"
            seen.add((where, name))
            if component.tag != f"{NAMESPACE}component" or given != IDENTITY or name not in SETTINGS:
                yield f"{component.tag} {component.attrib}"
                continue
            yield from (f"{where}: {name}: {why}" for why in _children(component, SETTINGS[name], where, ""))


def _children(
    parent: ElementTree.Element, known: dict[str, tuple[set[str], Check]], where: str, at: str
) -> Iterator[str]:
    names = [child.tag for child in parent]
    for child in parent:
        name = child.tag.removeprefix(NAMESPACE)
        path = f"{at}{name}"
        is_list = name in LISTS
        if not child.tag.startswith(NAMESPACE) or dict(child.attrib) != ({ACTION: "add"} if is_list else {}):
            yield f"{child.tag} {child.attrib}"
        if not is_list and names.count(child.tag) > 1:
            yield f"{path} twice"
        if path in known:
            passes, check = known[path]
            if where not in passes:
                yield f"{path} is not valid in this pass"
            if len(child) or not check(child.text or ""):
                yield f"{path}: {child.text!r}"
        elif any(name.startswith(f"{path}/") for name in known):
            if (child.text or "").strip():
                yield f"{path}: text"
            yield from _children(child, known, where, f"{path}/")
        else:
            yield f"{path} is not known"
