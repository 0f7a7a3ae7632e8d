"""What commands of a script for sh do otherwise in dash than in bash (a real dash was asked)."""

from __future__ import annotations

import re

from aibemu.template.scripts.commands import Command, Word

# Commands whose words name files, hosts or packages: `a{b,c}` is meant as two of them. curl, awk and jq have braces of
# their own.
_TAKE_NAMES = (
    "mkdir rmdir touch rm cp mv ln ls cat chmod chown chgrp install tar zip rsync tee apt apt-get yum dnf tdnf zypper "
    "systemctl usermod setfacl"
)
_LISTS = frozenset(_TAKE_NAMES.split())
_BRACES = re.compile(r"(?<![\\$])\{[^{}\s,]*,[^{}\s]*\}")
_OPTIONS = {
    "read": (re.compile(r"-\w*[tnNasdeiu]"), "dash knows only -r and -p"),
    "printf": (re.compile(r"-v"), 'write `name="$(printf ...)"`'),
    "wait": (re.compile(r"-[nfp]"), "wait for the id of a process"),
    "type": (re.compile(r"-[tPpaf]"), "use `command -v`"),
    "unset": (re.compile(r"-n"), "dash knows -v and -f"),
    "exec": (re.compile(r"-[acl]"), "dash knows no option"),
    "echo": (re.compile(r"-(?:n?e[nE]?|E|nE)"), "dash prints it; write `printf '...\\n'`"),
    "kill": (re.compile(r"-SIG\w+"), "write `-TERM` in place of `-SIGTERM`"),
}  # fmt: skip
_PSEUDO = frozenset({"ERR", "DEBUG", "RETURN"})


def bash_only(command: Command) -> tuple[Word, str, str | None] | None:
    """A word that dash does not know, or takes otherwise: where, what it is, and a hint."""
    name, words = command.name, command.words[1:]
    if command.words[0].text != name and name != "test":
        return None
    if re.match(r"[A-Za-z_]\w*\+=", name):
        return command.words[0], "`+=`", f'write `{name.split("+")[0]}="${name.split("+")[0]}..."`'
    if name in _OPTIONS and words:
        pattern, hint = _OPTIONS[name]
        if words[0].literal and not words[0].quoted and pattern.fullmatch(words[0].text):
            return words[0], f"`{name} {words[0].text}`", hint
    if name == "trap" and len(words) > 1:
        for word in words[1:]:
            if word.text in _PSEUDO:
                return word, f"`trap ... {word.text}`", "use `trap ... EXIT`"
            if word.text.startswith("SIG") and word.literal:
                return word, f"`trap ... {word.text}`", f"write `{word.text[3:]}`"
    if name == "test" and any(child.type == "==" for child in command.node.children):
        return command.words[0], "`==` in `test`", "write `=`"
    if name in _LISTS:
        for word in words:
            if not word.quoted and (found := _BRACES.search(word.text)):
                return word, f"`{found[0]}`", "write the names out"
    return None
