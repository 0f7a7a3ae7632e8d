"""Where File steps put their files: one rule for what is a folder, who may write there, and whether it is there (facts:
service 3, 5; provisioners 1.3)."""

from __future__ import annotations

import io
import ntpath
import posixpath
import re
import shlex
from dataclasses import dataclass

from aibemu.arm.findings import shorten
from aibemu.arm.nodes import NodeKind
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import customizers_of, is_windows, source_of, validators_of
from aibemu.template.view import NodeView

# Where the build user, who is not root, may write on Linux.
_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")
# Of the user that the service builds as.
_HOME = "/home/packer"
_IN_HOME = re.compile(r"(?:~|\$HOME|\$\{HOME\})/(?P<rest>.*)", re.DOTALL)
_LINUX_FOLDERS = frozenset({
    "/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", _HOME, "/lib", "/media", "/mnt", "/opt", "/proc",
    "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin", "/usr/share",
    "/var", "/var/lib", "/var/log", "/var/tmp", "/var/www",
})  # fmt: skip
# What is below these on a fresh Windows is not known here, by far not all of it.
_WINDOWS_KNOWN = ("windows", "program files", "program files (x86)", "programdata", "users", "packages", "windowsazure")
_WINDOWS_FOLDERS = frozenset({
    "", "perflogs", "program files", "program files (x86)", "programdata", "users", "users\\public",
    "users\\public\\desktop", "windows", "windows\\system32", "windows\\temp", "windowsazure",
})  # fmt: skip
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_VARIABLE = re.compile(r"%\w+%|\$env:|\$\(|\$\{?\w", re.IGNORECASE)


def check_destination(template: NodeView, context: RuleContext) -> None:
    """Each File step, after the steps before it."""
    fresh = source_of(template, "PlatformImage") is not None
    look = _on_windows if is_windows(template) else _on_linux
    for steps in (customizers_of(template), validators_of(template)):
        before = _Before()
        for step in steps:
            before.add(step)
            destination = step.text("destination") or ""
            if step.text("type") == "File" and destination:
                file = _File(step=step, text=destination, before=before, fresh=fresh, context=context)
                look(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A File step. text: its destination; before: what earlier steps say; fresh: the source is a marketplace image, of
    which the folders are known."""

    step: NodeView
    text: str
    before: _Before
    fresh: bool
    context: RuleContext

    def warn(self, id_: str, message: str, hint: str) -> None:
        where = self.step.at("destination")
        self.context.findings.warning(id_, where, message, path=self.step.path, hint=hint)

    def warn_folder(self, write: str) -> None:
        """The destination is the folder, and not the file in it."""
        message = f"'{self.text}' is a folder: the copy fails, as a file has to be named"
        self.warn("E31", message, f"write the file's whole path, or {write}: the name of the source is put after it")

    def warn_missing(self, parent: str, command: str) -> None:
        message = f"no earlier step makes the folder {parent}: copying into a folder that is not there fails"
        self.warn("E31", message, f"make it in a step before: {command}")

    def check_name(self) -> None:
        """A destination that is a folder, and an address that ends in one too."""
        address = re.split("[?#]", self.step.text("sourceUri") or "")[0]
        if self.text.endswith("/") and address.endswith("/"):
            self.warn("E31", "neither sourceUri nor destination has the name of a file", "name the file in destination")


def _on_linux(file: _File) -> None:
    if _DRIVE.match(file.text) or "\\" in file.text:
        message = f"'{file.text}' is a path of Windows, and the guest is Linux: a file of that name comes into the "
        file.warn("E30", f"{message}home of the build user", "write a path below /tmp/")
        return
    home = _IN_HOME.fullmatch(file.text)
    if not home and file.text.startswith(("~", "$")):
        hint = "write a path below /tmp/; of the variables only ~/ and $HOME/ at the beginning are sure to work"
        file.warn("E30", f"'{file.text}' depends on the shell of the guest", hint)
        return
    file.check_name()
    path = posixpath.normpath(file.text)
    if home or not path.startswith("/"):
        _in_home(file, posixpath.normpath(home["rest"] or ".") if home else path)
    elif path in _LINUX_FOLDERS and not file.text.endswith("/"):
        file.warn_folder(f"{path}/")
    elif not _below(path, (*_WRITABLE, _HOME)) and not (path in _WRITABLE or path == _HOME):
        if file.before.opens(posixpath.dirname(path)):
            return
        message = f"'{file.text}' is outside /tmp: on Linux a file is copied as the build user, who is not root"
        file.warn("E30", message, "copy it to /tmp, and move it with sudo in a Shell customizer")
    elif file.fresh:
        _in_writable(file, path if file.text.endswith("/") else posixpath.dirname(path))


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _in_home(file: _File, path: str) -> None:
    """A path that starts from the build user's home."""
    folder = path if file.text.endswith("/") else posixpath.dirname(path)
    if file.fresh and folder not in ("", ".") and not file.before.may_mention(posixpath.basename(folder)):
        command = f"mkdir -p ~/{shlex.quote(folder)}"
        file.warn_missing(f"'{folder}' in the home of the build user", command)


def _in_writable(file: _File, parent: str) -> None:
    """A folder below /tmp of a fresh image exists only when a step has made it."""
    if parent in (*_WRITABLE, _HOME) or file.before.may_mention(posixpath.basename(parent)):
        return
    file.warn_missing(parent, f"mkdir -p {shlex.quote(parent)}")


def _on_windows(file: _File) -> None:
    if file.text.startswith(("/", "~")):
        message = f"'{shorten(file.text, 100)}' is a path of Linux, and the guest is Windows"
        file.warn("E30", message, "write a path with its drive, like C:/Windows/Temp/file.txt")
        return
    if not _DRIVE.match(file.text) or _VARIABLE.search(file.text):
        return
    path = ntpath.normpath(file.text)
    inside = path[2:].strip("\\").casefold()
    if file.text.endswith("\\") or (inside in _WINDOWS_FOLDERS and not file.text.endswith("/")):
        file.warn_folder(path.replace("\\", "/").rstrip("/") + "/")
        return
    file.check_name()
    parent = path if file.text.endswith("/") else ntpath.dirname(path)
    within = parent[2:].strip("\\").casefold()
    if not file.fresh or path[0].upper() != "C" or not within or within.split("\\")[0] in _WINDOWS_KNOWN:
        return
    if not file.before.may_mention(ntpath.basename(parent)):
        quoted = parent.replace("'", "''")
        file.warn_missing(parent, f"New-Item -ItemType Directory -Force '{quoted}'")


class _Before:
    """What the steps so far say, but for those that copy files."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._unseen = False

    def add(self, step: NodeView) -> None:
        if step.text("type") == "File":
            return
        items = step.items("inline")
        if step.text("type") not in ("WindowsRestart", "WindowsUpdate"):
            self._unseen = self._unseen or not items or any(item.kind is not NodeKind.STRING for item in items)
        self._text.writelines(f"{item.value}\0".casefold() for item in items)

    def may_mention(self, name: str) -> bool:
        """True when one has the name in its text, or its text is not to be seen."""
        return self._unseen or name.casefold() in self._text.getvalue()

    def opens(self, folder: str) -> bool:
        """True when one seems to let the build user write into a folder, or into one above it."""
        text = self._text.getvalue()
        named = any(part.casefold() in text for part in _above(folder))
        return named and re.search(r"\b(?:chmod|chown|install|setfacl)\b", text) is not None


def _above(folder: str) -> list[str]:
    """The folder, and those above it but for the uppermost."""
    found = []
    while folder.count("/") > 1 or (folder != "/" and folder not in _LINUX_FOLDERS):
        found.append(folder)
        folder = posixpath.dirname(folder)
    return found


CHECKS = (check_destination,)
