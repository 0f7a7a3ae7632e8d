"""W33, W34: what only root may do, and inline commands are not run by root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.template.scripts.commands import Command, Word
from aibemu.template.scripts.folders import is_roots, is_under_root_folder, is_within
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.root_tables import ALWAYS, LOOKS_ONLY, SIMULATES, SUBCOMMANDS, has_subcommand, option_of

# The script asks who it is, and does as root what it does without sudo.
_ASKS_WHO = re.compile(r"\bid\s+-\w*u|\$\{?(?:E?UID)\b|\bwhoami\b")
_ELSEWHERE = re.compile(r"(?:--prefix|\bPREFIX|\bDESTDIR|CMAKE_INSTALL_PREFIX)(?:[ =:]|:\w+=)['\"]?(?!/(?:usr|opt)\b)")
# Programs that write to their last operand, or (True) to all of them.
_WRITERS = {"cp": False, "ln": False, "install": False, "rsync": False, "mv": True, "mkdir": True, "touch": True,
            "tee": True, "rm": True, "rmdir": True, "truncate": True, "shred": True, "unlink": True, "chown": True,
            "chmod": True, "chgrp": True, "setcap": True}  # fmt: skip
_REDIRECTS = (">", ">>", "&>", "&>>", ">|")


def check_root(judge: Judge) -> None:
    """W33: inline commands run as the build user, who is not root."""
    if judge.script.root or _ASKS_WHO.search(judge.script.text):
        return
    for command in judge.commands:
        if command.privileged or command.condition or LOOKS_ONLY & set(command.arguments):
            continue
        if what := _privilege(judge, command) or _written(judge, command):
            message = f"{what} needs root, and inline commands run as the unprivileged build user"
            judge.warn("W33", command.words[0].at, message, "put `sudo` before it")
        for redirect in command.redirects:
            if redirect.operator in _REDIRECTS and _is_roots(judge, command, redirect.target):
                message = f"`{redirect.operator} {redirect.target.text}` needs root; inline commands do not run as it"
                judge.warn("W33", redirect.target.at, message, _by_tee(redirect.operator, redirect.target))


def _by_tee(operator: str, target: Word) -> str:
    append = "-a " if operator.endswith(">>") else ""
    return f"write `... | sudo tee {append}{target.text}`"


def _privilege(judge: Judge, command: Command) -> str | None:
    """What of a command needs root wherever it writes."""
    name = command.name
    if SIMULATES.get(name, frozenset()) & set(command.arguments):
        return None
    if name in ALWAYS:
        return f"`{name}`"
    if (name in SUBCOMMANDS) and (sub := has_subcommand(command)):
        return f"`{name} {sub}`"
    if (option := option_of(command)) is not None:
        return f"`{f'{name} {option}'.strip()}`"
    if name in ("make", "gmake", "ninja") and "install" in command.arguments and "-n" not in command.arguments:
        return None if _ELSEWHERE.search(judge.script.text) else f"`{name} install`"
    return None


def _written(judge: Judge, command: Command) -> str | None:
    """The command with what it writes to, if that is root's."""
    for word in _targets(judge, command):
        top = command.name in ("mkdir", "touch", "tee")
        if _is_roots(judge, command, word) or (top and _is_top(judge, command, word)):
            return f"`{command.name} {word.text}`" if command.name in _WRITERS else _to(command, word.text)
    here = judge.folders.of(command)
    if here is not None and is_roots(here) and not _is_given(judge, here) and _writes_here(command):
        return _to(command, here)
    return None


def _to(command: Command, path: str) -> str:
    return f"`{command.name}` that writes to {path}"


def _targets(judge: Judge, command: Command) -> Iterator[Word]:
    """The words that name what a command writes to."""
    operands = command.operands()
    if command.name in _WRITERS:
        yield from _values(command, "t", "--target-directory")
        chosen = operands if _WRITERS[command.name] else operands[-1:]
        yield from chosen[1:] if command.name in ("chown", "chmod", "chgrp", "setcap") else chosen
    elif command.name == "sed" and _in_place(command):
        script = {"-e", "-f", "--expression", "--file"} & {argument.split("=")[0] for argument in command.arguments}
        yield from operands if script else operands[1:]
    elif command.name == "perl" and any(re.match(r"-\w*i", argument) for argument in command.arguments):
        yield from operands[1:]
    elif command.name in ("tar", "bsdtar") and _extracts(command):
        yield from _values(command, "C", "--directory")
    elif command.name == "unzip" and not {"-l", "-t", "-p", "-v", "-Z"} & set(command.arguments):
        yield from _values(command, "d")
    elif command.name == "curl":
        yield from _values(command, "o", "--output", "--output-dir")
    elif command.name == "wget":
        yield from _values(command, "OP", "--output-document", "--directory-prefix")
    elif command.name in ("gpg", "gpg2"):
        yield from _values(command, "o", "--output")
    elif command.name in ("pip", "pip3"):
        yield from _values(command, "t", "--target", "--prefix")
    elif command.name == "openssl":
        yield from _values(command, "", "-out", "-keyout")
    elif command.name == "dd":
        yield from (_cut(word, 3) for word in command.words[1:] if word.text.startswith("of="))
    elif command.name == "git" and command.arguments[:1] == ("clone",) and len(operands) > 2:
        yield operands[-1]
    elif command.name.startswith("python") and command.arguments[:2] in (("-m", "venv"), ("-m", "virtualenv")):
        yield from operands[1:]
    elif command.name == "virtualenv":
        yield from operands[-1:]
    elif command.name == "az" and command.arguments[:2] == ("aks", "install-cli"):
        yield from _values(command, "", "--install-location") or (Word(text="/usr/local/bin", at=command.at),)
    elif command.name == "find" and ("-delete" in command.arguments or "rm" in command.arguments):
        yield from operands[:1]


def _writes_here(command: Command) -> bool:
    """Whether a command makes files in the folder that it runs in."""
    arguments = set(command.arguments)
    if command.name in ("tar", "bsdtar"):
        return _extracts(command) and not _values(command, "C", "--directory")
    if command.name == "unzip":
        return not (_values(command, "d") or {"-l", "-t", "-p", "-v", "-Z"} & arguments)
    if command.name == "wget":
        return bool(command.operands()) and not _values(command, "OP", "--output-document", "--directory-prefix")
    if command.name == "curl":
        return bool({"-O", "--remote-name"} & arguments)
    return command.name == "git" and command.arguments[:1] == ("clone",) and len(command.operands()) == 2


def _values(command: Command, short: str, *long: str) -> list[Word]:
    """The values of options: `-o X`, `-oX`, `-fsSLo X`, `--output X`, `--output=X`. short: letters that take one."""
    found, words = list[Word](), command.words[1:]
    for index, word in enumerate(words):
        name, equals, _ = word.text.partition("=")
        following = words[index + 1 : index + 2]
        if name in long:
            found += [_cut(word, len(name) + 1)] if equals else following
        elif short and (match := re.match(rf"-(?!-)(?:[^\W\d_{short}]|#)*[{short}]", word.text)):
            found += [_cut(word, match.end())] if match.end() < len(word.text) else following
    return found


def _cut(word: Word, length: int) -> Word:
    return Word(text=word.text[length:], at=word.at, literal=word.literal)


def _in_place(command: Command) -> bool:
    return any(re.match(r"-[nrEsuz]*i|--in-place", argument) for argument in command.arguments)


def _extracts(command: Command) -> bool:
    first = command.arguments[0] if command.arguments else ""
    old = re.match(r"[a-zA-Z]*x", first) is not None and "/" not in first and "." not in first
    new = any(re.match(r"-(?!-)[a-zA-Z]*x", argument) for argument in command.arguments)
    return old or new or bool({"--extract", "--get"} & set(command.arguments))


def _is_given(judge: Judge, path: str) -> bool:
    return is_within(path, judge.given)


def _is_roots(judge: Judge, command: Command, word: Word) -> bool:
    path = judge.folders.path(command, word)
    return path is not None and is_roots(path) and not _is_given(judge, path)


def _is_top(judge: Judge, command: Command, word: Word) -> bool:
    """A name in the root folder, or below one that is not there before."""
    path = judge.folders.path(command, word)
    if path is None or _is_given(judge, path) or not is_under_root_folder(path):
        return False
    # A folder that an earlier command made may be anybody's.
    return command.name == "mkdir" or path.rstrip("/").count("/") == 1


def check_redirect(judge: Judge) -> None:
    """W34: `sudo echo x > /etc/y` opens the file before sudo begins."""
    for command in judge.commands:
        for redirect in command.redirects:
            if command.privileged and not judge.script.root and redirect.operator in _REDIRECTS:
                target = redirect.target
                roots = _is_roots(judge, command, target)
                path = judge.folders.path(command, target) or ""
                top = re.fullmatch(r"/[\w.-]+/?", path) is not None and is_under_root_folder(path)
                if roots or (top and not _is_given(judge, path)):
                    message = f"sudo does not reach the redirection: {target.text} is opened by the build user"
                    judge.warn("W34", target.at, message, _by_tee(redirect.operator, target))
