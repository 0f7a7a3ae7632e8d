"""Scripts that stand in a script: `bash -c '...'`, and what is given to a shell by `<<`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import tree_sitter

from aibemu.template.scripts.commands import Command
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Chunk, Dialect, Script

_SHELLS = {"sh": Dialect.SH, "dash": Dialect.SH, "bash": Dialect.BASH}
_DEEPEST, _MOST = 3, 200


def nested(judge: Judge, depth: int = 0) -> Iterator[Judge]:
    """The scripts in a script, and those in them, each in front of the rules."""
    if depth >= _DEEPEST:
        return
    for number, (command, dialect, start, end) in enumerate(_found(judge)):
        if number >= _MOST:
            return
        inner = Judge(
            script=_part(judge.script, dialect, start, end, root=judge.script.root or command.privileged),
            context=judge.context, publisher=judge.publisher, earlier=judge.earlier, outer=judge, outer_at=start,
            others=judge.others,
        )  # fmt: skip
        yield inner
        yield from nested(inner, depth + 1)


def _part(script: Script, dialect: Dialect, start: int, end: int, *, root: bool) -> Script:
    """A piece of a script as one of its own. `\\$` and `\\"` become two blanks less one, so that places stay."""
    text = script.text[start:end]
    if start and script.text[start - 1] == '"':
        text = re.sub(r'\\([$"`\\])', r" \1", text)

    chunk = Chunk(start=0, place=lambda offset: script.at(start + offset))
    return replace(script, dialect=dialect, text=text, chunks=[chunk], root=root)


def _found(judge: Judge) -> Iterator[tuple[Command, Dialect, int, int]]:
    """Each command that runs a text as a script, with the offsets of that text."""
    for command in judge.commands:
        dialect = _SHELLS.get(command.name)
        shell = dialect or _login(command)
        if shell is None:
            continue
        if dialect is not None and (place := _of_option(command)) is not None:
            yield command, dialect, *place
        elif body := _body(judge, command.node):
            yield command, shell, judge.parsed.offset(body.start_byte), judge.parsed.offset(body.end_byte)


def _login(command: Command) -> Dialect | None:
    """`sudo -i <<EOF`, `sudo su <<EOF`: root's own shell."""
    words = [word.text for word in command.words]
    shell = (
        words[0] == "sudo"
        and words[1:]
        and all(one in ("-i", "-s", "-E", "-H", "--login", "--shell") for one in words[1:])
    )
    root = command.name == "su" and command.privileged and all(one in ("-", "-l", "root") for one in words[1:])
    return Dialect.BASH if shell or root else None


def _of_option(command: Command) -> tuple[int, int] | None:
    """Where the text after `-c` stands, if it is written out in quotes."""
    options = True
    wanted = False
    for word in command.words[1:]:
        if options and re.match(r"[-+]\w", word.text) and not word.quoted:
            wanted = wanted or (word.text[0] == "-" and "c" in word.text)
        elif options and word.text in ("pipefail", "errexit", "nounset"):
            continue
        else:
            if wanted and word.quoted and word.text.strip():
                return word.at + 1, word.at + 1 + word.length
            return None
    return None


def _body(judge: Judge, node: tree_sitter.Node) -> tree_sitter.Node | None:
    """The text of `<<` that a command reads."""
    above: tree_sitter.Node | None = node
    for _ in range(4):
        if above is None:
            return None
        if above.type == "heredoc_redirect":
            inside = [child for child in above.children if child.type == "heredoc_body"]
            # `cat <<EOF | bash`: what cat reads is what bash gets.
            return inside[0] if inside and _is_passed_on(judge, above) else None
        for child in above.named_children if above.type == "redirected_statement" else ():
            if child.type == "heredoc_redirect" and above.named_children[0].id in (node.id, above.named_children[0].id):
                first = above.named_children[0]
                if first.id != node.id:
                    return None
                return next((part for part in child.children if part.type == "heredoc_body"), None)
        above = judge.parsed.parent(above)
    return None


def _is_passed_on(judge: Judge, redirect: tree_sitter.Node) -> bool:
    above = judge.parsed.parent(redirect)
    return above is not None and re.match(r"cat\s*<<", judge.parsed.text(above)[:20]) is not None
