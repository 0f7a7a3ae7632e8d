"""Rules about the files that steps name by scriptUri and sourceUri (facts: service 1.6, 3, 7.2).

The service fetches them once, when the template is submitted. What is known of them here is in `context.files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aibemu.arm.findings import shorten
from aibemu.template.addresses import HTTP, arguments, inline_for, no_scheme, signature_problem
from aibemu.template.remote import RemoteFile
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import SCRIPT_KINDS, is_windows, listed_steps, steps_of
from aibemu.template.view import NodeView

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Blobs that the template's identity may be allowed to read, and nobody else.
_PRIVATE = re.compile(r"https?://[^/]+\.blob\.[^/]+/(?!.*[?&]sig=)", re.IGNORECASE)
# Pages of a web site that show the file; what a browser saves from them is HTML.
_PAGE = re.compile(
    r"https?://(?:www\.)?github\.com/[^/]+/[^/]+/blob/(?!.*[?&]raw=)|https?://gitlab\.com/.+/-/blob/", re.IGNORECASE
)
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype html|<html)", re.IGNORECASE)
# What begins so is no script; PowerShell reads it without a complaint, and with the old wrapper the step ends with 0.
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:[!?]|[A-Za-z][\w:-]*[\s>/])")
# What Azure's storage answers in place of a file.
_REFUSAL = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*>\s*<Error>\s*<Code>(\w+)")
# What a repository has in place of a file that Git LFS keeps elsewhere; as a script it ends with 0 and does nothing.
_POINTER = re.compile(rb"(?:\xef\xbb\xbf)?version https://git-lfs\.github\.com/spec/")
_LARGE = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a part of the template names: `owner` has its URI in `field`."""

    owner: NodeView
    field: str
    uri: str

    @property
    def is_script(self) -> bool:
        return self.field == "scriptUri"

    def known(self, context: RuleContext) -> RemoteFile | None:
        """What is known of it; None when nobody looked."""
        return context.files.get(self.uri)


def files_of(template: NodeView) -> Iterator[Named]:
    """The files of all steps."""
    for step in steps_of(template):
        field = "scriptUri" if step.text("type") in SCRIPT_KINDS else "sourceUri"
        if uri := step.text(field):
            yield Named(step, field, uri)


def check_checksum(template: NodeView, context: RuleContext) -> None:
    """64 hex digits, and those of the file."""
    for step in steps_of(template):
        text = step.text("sha256Checksum")
        if text and not _SHA256.fullmatch(text):
            lower = text.strip().lower()
            hint = f"write {lower}" if _SHA256.fullmatch(lower) else "`sha256sum FILE` prints it"
            context.bad("E26", step, "sha256Checksum", "A SHA-256 is 64 hex digits in lower case", hint)
    for file in files_of(template):
        text = file.owner.text("sha256Checksum") or ""
        known = file.known(context)
        if known and known.sha256 and not known.problem and _SHA256.fullmatch(text) and known.sha256 != text:
            why = f"It is not the SHA-256 of {known.place}"
            context.bad(
                "E26", file.owner, "sha256Checksum", why, f"its SHA-256 is {known.sha256}, if it is what you meant"
            )


def check_pinned(template: NodeView, context: RuleContext) -> None:
    """One note for all: the service pins what it fetched at submission by itself, so that only that moment is open."""
    loose = [
        file
        for file in files_of(template)
        if HTTP.match(file.uri)
        and not file.owner.text("sha256Checksum")
        and not file.owner.is_unknown("sha256Checksum")
    ]
    if loose:
        message = (
            f"no sha256Checksum: {listed_steps(file.owner for file in loose)}; the service takes what the address "
            "gives when the template is submitted, and nobody would notice a change before"
        )
        first = loose[0]
        hint = "add sha256Checksum: `sha256sum FILE` prints it"
        context.findings.note("W27", first.owner.at(first.field), message, path=first.owner.path, hint=hint)


def check_reachable(template: NodeView, context: RuleContext) -> None:
    """What cannot be had, or is a web page around the file."""
    for file in files_of(template):
        known = file.known(context)
        if _say_odd(file, template, context):
            continue
        if _PAGE.match(file.uri):
            _say_page(file, "this is the address of a web page that shows the file", context)
        elif known and known.problem:
            _say_problem(file, known.problem, context)
        elif known and file.is_script and _HTML.match(known.head):
            _say_page(file, f"{known.place} is an HTML page, not a script", context)
        elif known and (refusal := _REFUSAL.match(known.head)):
            _say_markup(
                file, f"{known.place} is an error of Azure's storage ({refusal[1].decode()}), not the file", context
            )
        elif known and _POINTER.match(known.head):
            what = f"{known.place} is a pointer of Git LFS, not the file"
            _say_markup(
                file, what, context, "`git lfs pull` gets the file; name one, or an address, that has its content"
            )
        elif known and file.is_script and _MARKUP.match(known.head):
            _say_markup(file, f"{known.place} is an HTML or XML document, not a script", context)


def _say_odd(file: Named, template: NodeView, context: RuleContext) -> bool:
    """Whether the text itself is odd; that is said then. A file that is here may be called as it likes."""
    where, path = file.owner.at(file.field), file.owner.path
    known = file.known(context)
    if known and not known.problem:
        return False
    if file.is_script and (found := arguments(file.uri)):
        address, rest = found
        message = f"scriptUri is one address, and takes no arguments: `{shorten(rest, 60)}` is taken for a part of it"
        hint = f'in place of scriptUri: "inline": {inline_for(address, rest, windows=is_windows(template))}'
        context.findings.error("E28", where, message, path=path, hint=hint)
    elif whole := no_scheme(file.uri):
        message = f"{file.field}: '{shorten(file.uri, 100)}' has no http(s)://: it is taken for a file on this machine"
        context.findings.error("E28", where, f"{message}, and is none", path=path, hint=f"write {whole}")
    elif context.now and (why := signature_problem(file.uri, context.now)):
        message = f"{file.field}: {why}; the service fetches it when the template is submitted, and cannot then"
        hint = "make a new SAS token, or let the identity of the template read the container, and leave the token out"
        context.findings.warning("E28", where, message, path=path, hint=hint)
    else:
        return False
    return True


def check_local(template: NodeView, context: RuleContext) -> None:
    """One note for all files of this machine; a build says so with all else in which it differs from Azure."""
    local = [
        file for file in files_of(template)
        if not HTTP.match(file.uri) and (known := file.known(context)) and not known.problem
    ]  # fmt: skip
    if local and not context.build:
        fields = " and ".join(dict.fromkeys(file.field for file in local))
        message = (
            f"local file in {fields}: {listed_steps(file.owner for file in local)}; it works here, Azure takes only "
            "http(s) addresses"
        )
        first = local[0]
        hint = "for Azure put it where the service can fetch it; here --map PREFIX=DIR takes an address from a folder"
        context.findings.note("W17", first.owner.at(first.field), message, path=first.owner.path, hint=hint)


def _say_page(file: Named, what: str, context: RuleContext) -> None:
    message = f"{file.field}: {what}; the service takes the HTML of the page"
    hint = "look at what the address gives without signing in"
    if _PAGE.match(file.uri):
        hint = "use the address of the raw file"
        if "github.com/" in file.uri.casefold():
            hint += ": https://raw.githubusercontent.com/OWNER/REPOSITORY/REF/PATH"
    say = context.findings.error if file.is_script else context.findings.warning
    say("E28", file.owner.at(file.field), message, path=file.owner.path, hint=hint)


def _say_markup(
    file: Named, what: str, context: RuleContext, hint: str = "look at what the address gives without signing in"
) -> None:
    say = context.findings.error if file.is_script else context.findings.warning
    say("E28", file.owner.at(file.field), f"{file.field}: {what}", path=file.owner.path, hint=hint)


def _say_problem(file: Named, problem: str, context: RuleContext) -> None:
    where, path = file.owner.at(file.field), file.owner.path
    message = f"{file.field}: {problem}"
    if _PRIVATE.match(file.uri):
        message += "; the service reads a private blob with the identity of the template"
        hint = "for a build here, map the address to a folder (--map), or use an address with a SAS token"
        context.findings.warning("E28", where, message, path=path, hint=hint)
        return
    if HTTP.match(file.uri):
        message += "; the service fetches it when the template is submitted, and refuses the template when it cannot"
    context.findings.error("E28", where, message, path=path)


def check_size(template: NodeView, context: RuleContext) -> None:
    """The File customizer is made for small files."""
    for file in files_of(template):
        known = file.known(context)
        if file.is_script or known is None or known.size <= _LARGE:
            continue
        message = (
            f"{known.place} has {known.size / 1024 / 1024:.0f} MB: a File step is meant for less than 20 MB, "
            "and over WinRM it takes very long"
        )
        hint = "download it inside the machine, in a script"
        context.findings.warning("W29", file.owner.at(file.field), message, path=file.owner.path, hint=hint)


CHECKS = (check_checksum, check_pinned, check_local, check_reachable, check_size)
