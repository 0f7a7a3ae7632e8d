"""The commands of a shell script, as what they really run: without sudo, env and assignments before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter

from aibemu.template.scripts.trees import Parsed
from aibemu.template.scripts.variables import Variables

# What runs its arguments as a command; the options of theirs that take a value.
_WRAPPERS = {
    "sudo": frozenset({"-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-D", "--user", "--group"}),
    "doas": frozenset({"-u", "-C"}), "env": frozenset({"-u", "-C", "--unset", "--chdir"}), "nice": frozenset({"-n"}),
    "timeout": frozenset({"-s", "-k"}), "nohup": frozenset(), "exec": frozenset({"-a"}), "time": frozenset(),
    "command": frozenset(), "ionice": frozenset({"-c", "-n"}), "stdbuf": frozenset({"-i", "-o", "-e"}),
}  # fmt: skip
_PRIVILEGED = frozenset({"sudo", "doas"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a command, its quotes taken off, variables whose only value is written out put in; at: its offset.
    literal: nothing else in it is expanded. quoted: all of it stands in quotes, so that `*` is no pattern.
    length: of what stands in the script, without quotes around it."""

    text: str
    at: int
    literal: bool = True
    quoted: bool = False
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """`> target` and its like; operator as written, without a number before it."""

    operator: str
    target: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """words: what runs, and its arguments. privileged: by sudo. redirects: of the command, or the group around it.
    piped: it reads what another command writes, or a file. condition: its status is asked for, so that it may fail.
    opaque: an argument is not known, and may be any option. node: of the tree."""

    words: tuple[Word, ...]
    at: int
    privileged: bool
    redirects: tuple[Redirect, ...]
    piped: bool
    condition: bool
    opaque: bool
    node: tree_sitter.Node

    @property
    def name(self) -> str:
        """The program, without its folder."""
        return self.words[0].text.rpartition("/")[2]

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words[1:])

    def operands(self) -> tuple[Word, ...]:
        """The arguments that are no options."""
        return tuple(word for word in self.words[1:] if not word.text.startswith("-"))

    def has_option(self, short: str, *long: str) -> bool:
        """True for `-y`, `-qy` and the long forms."""
        return any(
            argument in long or (argument[:1] == "-" and argument[:2] != "--" and short in argument.split("=")[0])
            for argument in self.arguments
        )


def commands(parsed: Parsed) -> Iterator[Command]:
    """Every simple command of the script that has a name known from its text."""
    conditions: dict[int, bool] = {}
    nodes = list(parsed.walk())
    variables = Variables(parsed, nodes)
    for node in nodes:
        if node.type == "command" and (found := _command(parsed, node, conditions, variables)):
            yield found


def _command(
    parsed: Parsed, node: tree_sitter.Node, conditions: dict[int, bool], variables: Variables
) -> Command | None:
    words = [
        word
        for child in node.named_children
        if child.type not in ("variable_assignment", "file_redirect", "herestring_redirect", "heredoc_redirect")
        for word in _words(parsed, child, variables)
    ]
    at, privileged = (words[0].at if words else 0), False
    while words and (options := _WRAPPERS.get(words[0].text.rpartition("/")[2])) is not None:
        privileged = privileged or words[0].text in _PRIVILEGED
        rest = _unwrapped(words, options)
        if rest is None:
            break
        words = rest
    if not words or not words[0].literal:
        return None
    redirects, piped = _around(parsed, node, variables)
    opaque = any(_is_opaque(word) for word in words[1:])
    return Command(
        words=tuple(words), at=at, privileged=privileged, redirects=tuple(redirects), piped=piped,
        condition=_is_condition(parsed, node, conditions), opaque=opaque, node=node,
    )  # fmt: skip


def _is_opaque(word: Word) -> bool:
    """Whether a word that is not known may become an option, or several words."""
    return not word.literal and (word.text.startswith(("$", "`")) and (not word.quoted or "@" in word.text))


def _unwrapped(words: list[Word], options: frozenset[str]) -> list[Word] | None:
    """The words of the command that a wrapper runs; None when it runs none, like `command -v`."""
    name, rest = words[0].text, words[1:]
    while rest and (rest[0].text.startswith("-") or "=" in rest[0].text):
        if name == "command" or rest[0].text in ("-s", "-i", "--login", "--shell"):
            return None
        rest = rest[2:] if rest[0].text in options else rest[1:]
    if name == "timeout":
        rest = rest[1:]
    return rest or None


def _words(parsed: Parsed, node: tree_sitter.Node, variables: Variables) -> Iterator[Word]:
    """What stands in the place of one word: several where a variable without quotes holds several."""
    word = _word(parsed, node, variables)
    parts = word.text.split() if node.type in ("simple_expansion", "expansion") and word.literal else []
    if len(parts) > 1:
        yield from (Word(text=part, at=word.at) for part in parts)
    else:
        yield word


def _word(parsed: Parsed, node: tree_sitter.Node, variables: Variables) -> Word:
    text = parsed.text(node)
    if node.type == "raw_string":
        return Word(text=text[1:-1], at=parsed.at(node), quoted=True, length=len(text) - 2)
    length = len(text)
    if "$" in text or "`" in text:
        text = variables.put_in(text)
    literal = not any(mark in text for mark in ("$", "`"))
    if node.type == "concatenation":
        # `"/tmp/"*`: the quotes are not part of the word.
        text = text.replace('"', "").replace("'", "") if literal else text
    elif len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return Word(text=text[1:-1], at=parsed.at(node), literal=literal, quoted=True, length=length - 2)
    return Word(text=text, at=parsed.at(node), literal=literal, length=length)


def _around(parsed: Parsed, node: tree_sitter.Node, variables: Variables) -> tuple[list[Redirect], bool]:
    """The redirections that hold for a command, and whether its input is something else than the script's."""
    found: list[Redirect] = []
    piped = False
    child = node
    while child is not None:
        for redirect in child.named_children if child.type in ("command", "redirected_statement") else ():
            if redirect.type == "file_redirect":
                target = redirect.child_by_field_name("destination")
                operator = next((part.type for part in redirect.children if not part.is_named), "")
                piped = piped or operator.startswith("<")
                if target is not None:
                    found.append(Redirect(operator=operator, target=_word(parsed, target, variables)))
            elif redirect.type in ("heredoc_redirect", "herestring_redirect"):
                piped = True
                # `cat <<EOF > file`: the file belongs to the heredoc in the tree.
                found += [
                    Redirect(operator=">", target=_word(parsed, target, variables))
                    for inner in redirect.named_children
                    if inner.type == "file_redirect" and (target := inner.child_by_field_name("destination"))
                ]
        parent = parsed.parent(child)
        if parent is not None and parent.type == "pipeline" and parent.named_children[0].id != child.id:
            piped = True
        if parent is None or parent.type in ("program", "list", "if_statement", "function_definition"):
            break
        child = parent
    return found, piped


def _is_condition(parsed: Parsed, node: tree_sitter.Node, known: dict[int, bool]) -> bool:
    """True where a failure is provided for: in the condition of `if` and `while`, before `||`, after `!`. known: the
    answers for nodes passed on the way up, so that a long chain is climbed once."""
    passed = []
    child: tree_sitter.Node | None = node
    answer = False
    while child is not None:
        passed.append(child.id)
        parent = parsed.parent(child)
        decided = known.get(child.id)
        if decided is None and parent is not None:
            decided = _decides(parent, child)
        if decided is not None:
            answer = decided
            break
        child = parent
    known.update(dict.fromkeys(passed, answer))
    return answer


def _decides(parent: tree_sitter.Node, child: tree_sitter.Node) -> bool | None:
    """Whether a node that holds a command provides for its failure; None when what is around the node says it."""
    if parent.type == "negated_command":
        return True
    if parent.type == "list" and parent.children[0].id == child.id and parent.children[1].type == "||":
        return True
    if parent.type in ("if_statement", "elif_clause", "while_statement"):
        condition = parent.child_by_field_name("condition")
        return child.type not in ("do_group", "elif_clause", "else_clause") and (
            condition is None or child.start_byte <= condition.start_byte
        )
    return None
