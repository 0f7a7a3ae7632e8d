"""What Azure takes as the name of a resource, by its type: one table for every id that a template may hold.

Source: Microsoft's "Naming rules and restrictions for Azure resources"; of galleries the error InvalidGalleryName says
what that page does not (facts: service, corrections).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NameForm:
    """pattern: of a whole name. words: the same for people, after "it takes"."""

    pattern: str
    words: str

    def fits(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None


_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# Of any tool.
_PLACEHOLDER = re.compile(r"[<>{}$#\[\]]")
_ENDS = "a letter or digit first and last"
_ENDS_LOW = "a letter or digit first, a letter, digit or `_` last"
# By type in lower case, without the provider: no two of them that a template names differ in it alone.
FORMS: Mapping[str, NameForm] = {
    "resourcegroups": NameForm(
        r"(?!.*\.\Z)[\w().-]{1,90}", "1 to 90 letters, digits, `_`, `-`, `.`, `(` and `)`, no `.` last"
    ),
    "galleries": NameForm(
        r"[A-Za-z0-9](?:[A-Za-z0-9_.]{0,78}[A-Za-z0-9])?", f"1 to 80 letters, digits, `_` and `.`, {_ENDS}"
    ),
    "galleries/images": NameForm(
        r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9])?", f"1 to 80 letters, digits, `_`, `-` and `.`, {_ENDS}"
    ),
    "images": NameForm(
        r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?",
        f"1 to 80 letters, digits, `_`, `-` and `.`, {_ENDS_LOW}",
    ),
    "userassignedidentities": NameForm(
        r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}", "3 to 128 letters, digits, `_` and `-`, a letter or digit first"
    ),
    "virtualnetworks": NameForm(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}[A-Za-z0-9_]", f"2 to 64 letters, digits, `_`, `-` and `.`, {_ENDS_LOW}"
    ),
    "virtualnetworks/subnets": NameForm(
        r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?",
        f"1 to 80 letters, digits, `_`, `-` and `.`, {_ENDS_LOW}",
    ),
}  # fmt: skip


_BLOB = re.compile(r"https?://(?P<account>[^./]+)\.blob\.core\.[^/]+/(?P<container>[^/?#]+)/", re.IGNORECASE)
_ACCOUNT = NameForm(r"[a-z0-9]{3,24}", "3 to 24 lower-case letters and digits")
_CONTAINER = NameForm(
    r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|\$root|\$web",
    "3 to 63 lower-case letters, digits and `-`, no two `-` together, a letter or digit first and last",
)


def blob_problems(address: str) -> Iterator[str]:
    """A sentence for each name in the address of a blob that Azure's storage does not take."""
    match = _BLOB.match(address)
    if match is None:
        return
    account, container = match["account"], match["container"]
    if not _ACCOUNT.fits(account.lower()) and not _PLACEHOLDER.search(account):
        yield f"'{account[:100]}' cannot be the name of a storage account: Azure takes {_ACCOUNT.words}"
    if not _CONTAINER.fits(container) and not _PLACEHOLDER.search(container.replace("$", "")):
        yield f"'{container[:100]}' cannot be the name of a container: Azure takes {_CONTAINER.words}"


def name_problems(resource_id: str) -> Iterator[str]:
    """A sentence for each name in a well-formed id that Azure does not take. Placeholders (`<name>`) are no names."""
    segments = resource_id.strip("/").split("/")
    path = ""
    for kind, name in zip(segments[::2], segments[1::2], strict=False):
        word = kind.lower()
        if word == "subscriptions" and not _GUID.fullmatch(name) and not _PLACEHOLDER.search(name):
            yield f"'{name[:100]}' is no id of a subscription: Azure's are GUIDs, 32 hex digits as 8-4-4-4-12"
        if word == "providers":
            path = ""
            continue
        path = word if word == "resourcegroups" or not path else f"{path}/{word}"
        form = FORMS.get(path)
        if form and not form.fits(name) and not _PLACEHOLDER.search(name):
            yield f"'{name[:100]}' cannot be the name in {kind}: Azure takes {form.words}"
