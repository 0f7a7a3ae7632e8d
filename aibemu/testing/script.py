"""What a scripted guest answers, written down beforehand: rules for commands and transfers, and how the boot fails.

`Script.load` reads YAML:

    rules:
      - match: "apt-get install nginx"   # regular expression, searched in the command, a newline and its standard input
        stdout: ["Setting up nginx"]     # or "upload:DESTINATION", or "download:SOURCE" (stdout is the file's content)
        exit: 100
        times: 1                         # the first match wins; after `times` matches the rule is over
        machine: "-build$"               # only on machines whose id matches
    boot: {fail: panic, console: ["Kernel panic - not syncing: VFS"], machine: "-validate$", times: 1}

Without a matching rule everything succeeds and says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from aibemu.errors import UsageError
from aibemu.reading import read_text

BOOT_FAILURES = ("hang", "panic", "stuck", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What happens to a command, upload or download that `match` finds. delay in seconds, before the output; until: a
    file, which must be there before it goes on.

    disconnect: the connection is lost instead of an exit status. reboot: the boot id changes (and a RESET is seen).
    poweroff: the machine goes off. console: what appears on the machine's console, before all else. started: False =
    lost or failed before the script itself began.
    """

    match: re.Pattern[str]
    machine: re.Pattern[str] = re.compile("")
    exit: int = 0
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    disconnect: bool = False
    reboot: bool = False
    poweroff: bool = False
    console: tuple[str, ...] = ()
    started: bool = True
    delay: float = 0.0
    until: str = ""
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """How a boot fails: hang (never answers), panic, stuck (only its console tells), off (powers itself off). told:
    what the hypervisor hears of a panic. times: of how many machines; the next ones boot well."""

    fail: str | None = None
    told: str | None = None
    console: tuple[str, ...] = ()
    machine: re.Pattern[str] = re.compile("")
    times: int | None = None


@dataclass(slots=True)
class Script:
    """Rules in order, and how often each was used."""

    rules: Sequence[Rule] = ()
    boot: Boot = field(default_factory=Boot)
    _used: dict[int, int] = field(default_factory=dict)
    _booted: int = 0

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a YAML file; `UsageError` names what is wrong in it."""
        import yaml

        try:
            value = yaml.safe_load(read_text(path))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"the guest's script {path} cannot be read", details=str(error).splitlines()) from None
        try:
            return cls.parse(value)
        except ValueError as error:
            raise UsageError(f"{path}: {error}", hint="see the module aibemu.testing.script for the format") from None

    @classmethod
    def parse(cls, value: Any) -> Script:
        """From YAML's values: a list of rules, or `{rules: [...], boot: {...}}`. Raises `ValueError`."""
        if value is None:
            return cls()
        if isinstance(value, list):
            value = {"rules": value}
        given = _mapping(value, {"rules", "boot"}, "the script")
        rules = given.get("rules") or []
        if not isinstance(rules, list):
            raise ValueError("rules must be a list")
        boot = Boot(**_values(given.get("boot") or {}, Boot, "boot"))
        if boot.fail not in (None, *BOOT_FAILURES):
            raise ValueError(f"boot.fail is {boot.fail!r}, allowed: {', '.join(BOOT_FAILURES)}")
        made = []
        for index, rule in enumerate(rules):
            values = _values(rule, Rule, f"rules[{index}]")
            if "match" not in values:
                raise ValueError(f"rules[{index}] has no match")
            made.append(Rule(**values))
        return cls(rules=tuple(made), boot=boot)

    def answer(self, text: str, machine: str = "") -> Rule:
        """The first rule for `text` that is not used up; a rule that says yes to everything if there is none."""
        for index, rule in enumerate(self.rules):
            used = self._used.get(index, 0)
            if rule.times is not None and used >= rule.times:
                continue
            if rule.match.search(text) and rule.machine.search(machine):
                self._used[index] = used + 1
                return rule
        return Rule(match=re.compile(""))

    def boot_of(self, machine: str) -> Boot:
        """How `machine` boots."""
        return self.boot if self.boot.machine.search(machine) else Boot()

    def next_boot_of(self, machine: str) -> Boot:
        """How a new machine boots, which counts for `times`."""
        boot = self.boot_of(machine)
        if boot is self.boot:
            self._booted += 1
            if boot.times is not None and self._booted > boot.times:
                return Boot()
        return boot


def _mapping(value: Any, known: set[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping")
    if unknown := sorted(str(key) for key in value if key not in known):
        raise ValueError(f"{where} has unknown keys: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return value


def _values(value: Any, kind: type, where: str) -> dict[str, Any]:
    """YAML's values as the fields of `kind` (Rule or Boot)."""
    given = _mapping(value, {item.name for item in fields(kind)}, where)
    return {key: _value(key, item, f"{where}.{key}") for key, item in given.items()}


def _value(key: str, value: Any, where: str) -> Any:
    if key in {"match", "machine"}:
        try:
            return re.compile(str(value), re.MULTILINE)
        except re.error as error:
            raise ValueError(f"{where} is no regular expression: {error}") from None
    if key in {"stdout", "stderr", "console"}:
        lines = value.splitlines() if isinstance(value, str) else value
        if not isinstance(lines, list):
            raise ValueError(f"{where} must be a list of lines")
        return tuple(str(line) for line in lines)
    wanted: type | tuple[type, ...] = (int, float) if key == "delay" else int if key in {"exit", "times"} else bool
    if key in {"fail", "told", "until"}:
        wanted = str
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ValueError(f"{where} has a wrong value: {value!r}")
    return value
