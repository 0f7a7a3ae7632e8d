"""The answer file: what Windows' own setup asks at the first boot of a generalised image, answered.

Pass specialize: the computer's name, and aibemu's setup.ps1 from whatever drive the stick or the CD has. Pass
oobeSystem: the pages that are not shown, locales, time zone, and who may log in. No automatic logon, and nothing that
is deprecated (SkipMachineOOBE), for that was reported to hang (facts: windows-images 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from aibemu.images.windows import WindowsFacts

NAMESPACE = "urn:schemas-microsoft-com:unattend"
WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
SETUP = r"aibemu\setup.ps1"
# On every drive letter that a stick or a CD can have. `exit 0`: what the script returns must not end Windows' setup.
SPECIALIZE = (
    'cmd.exe /c "for %d in (D E F G H I J K L M N O P Q R S T U V W X Y Z A B) do @if exist %d:\\' + SETUP + " "
    "(powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File %d:\\"
    + SETUP
    + ' -Stage Specialize & exit 0)"'
)
# US keyboard, by the identifiers that the International-Core component has; of others the name of the language will do.
_KEYBOARDS = {"en-US": "0409:00000409"}
_IDENTITY = {
    "processorArchitecture": "amd64", "publicKeyToken": "31bf3856ad364e35", "language": "neutral",
    "versionScope": "nonSxS",
}  # fmt: skip
_Tree = dict[str, "_Tree | str | list[_Tree]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the file says of one machine."""

    computer: str
    user: str
    password: str
    # None when nothing is known of the image.
    facts: WindowsFacts | None
    # Language and region, `en-US`.
    locale: str

    @property
    def makes_user(self) -> bool:
        """Whether the file makes the user. On a server setup.ps1 gives his name to the built-in administrator, as Azure
        does; on a client, where Sysprep disables that one, and where it is not known what it is, he is made anew."""
        return self.facts is None or self.facts.is_client


def answer_file(answers: Answers) -> bytes:
    """The file, UTF-8."""
    # As plain attributes: names of namespaces that a library makes up would be right, and read by no other program.
    root = ElementTree.Element("unattend", {"xmlns": NAMESPACE, "xmlns:wcm": WCM})
    _settings(root, "specialize", {
        "Microsoft-Windows-Deployment": {"RunSynchronous": {"RunSynchronousCommand": [
            {"Description": "aibemu", "Order": "1", "Path": SPECIALIZE},
        ]}},
        "Microsoft-Windows-Shell-Setup": {"ComputerName": answers.computer},
    })  # fmt: skip
    _settings(root, "oobeSystem", {
        "Microsoft-Windows-International-Core": {
            "InputLocale": _KEYBOARDS.get(answers.locale, answers.locale), "SystemLocale": answers.locale,
            "UILanguage": answers.locale, "UserLocale": answers.locale,
        },
        "Microsoft-Windows-Shell-Setup": {
            "OOBE": {
                "HideEULAPage": "true", "HideOnlineAccountScreens": "true", "HideWirelessSetupInOOBE": "true",
                "ProtectYourPC": "3",
            },
            "TimeZone": "UTC",
            "UserAccounts": _accounts(answers),
        },
    })  # fmt: skip
    ElementTree.indent(root)
    document = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{document}\n'.encode()


def _accounts(answers: Answers) -> _Tree:
    password: _Tree = {"PlainText": "true", "Value": answers.password}
    accounts: _Tree = {"AdministratorPassword": password}
    if answers.makes_user:
        account: _Tree = {"Group": "Administrators", "Name": answers.user, "Password": password}
        accounts["LocalAccounts"] = {"LocalAccount": [account]}
    return accounts


def _settings(root: ElementTree.Element, name: str, components: dict[str, _Tree]) -> None:
    settings = ElementTree.SubElement(root, "settings", {"pass": name})
    for component, tree in components.items():
        _fill(ElementTree.SubElement(settings, "component", {"name": component, **_IDENTITY}), tree)


def _fill(parent: ElementTree.Element, tree: _Tree) -> None:
    """Elements of `tree`; those of a list are items, which Windows' setup wants marked as added."""
    for name, value in tree.items():
        for item in value if isinstance(value, list) else [value]:
            child = ElementTree.SubElement(parent, name)
            if isinstance(value, list):
                child.set("wcm:action", "add")
            if isinstance(item, str):
                child.text = item
            else:
                _fill(child, item)
