"""Rules about what WindowsUpdate is told to install (facts: provisioners 1.5; a real PowerShell ran filters)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from aibemu.arm.nodes import Node, NodeKind
from aibemu.suggestions import did_you_mean
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import customizers_of
from aibemu.template.view import NodeView

_ACTIONS = ("include", "exclude")
# Of IUpdate to IUpdate5; the last line is what only drivers have.
_UPDATE = """Title AutoDownload AutoSelection AutoSelectOnWebSites BrowseOnly BundledUpdates CanRequireSource Categories
    CveIDs Deadline DeltaCompressedContentAvailable DeltaCompressedContentPreferred DeploymentAction Description
    DownloadContents DownloadPriority EulaAccepted EulaText HandlerID Identity Image InstallationBehavior IsBeta
    IsDownloaded IsHidden IsInstalled IsMandatory IsPresent IsUninstallable KBArticleIDs Languages
    LastDeploymentChangeTime MaxDownloadSize MinDownloadSize MoreInfoUrls MsrcSeverity PerUser RebootRequired
    RecommendedCpuSpeed RecommendedHardDiskSpace RecommendedMemory ReleaseNotes SecurityBulletinIDs SupersededUpdateIDs
    SupportUrl Type UninstallationBehavior UninstallationNotes UninstallationSteps
    DriverClass DriverHardwareID DriverManufacturer DriverModel DriverProvider DriverVerDate DeviceProblemNumber
    DeviceStatus"""
_PROPERTIES = _UPDATE.split()
_ANY_OBJECT = ("psobject", "gettype", "tostring", "equals", "gethashcode", "accepteula")
_COMMANDS = frozenset(
    ("where-object", "?", "where", "foreach-object", "%", "foreach", "select-object", "select", "select-string", "sls",
     "measure-object", "measure", "sort-object", "sort", "out-string", "out-null", "new-timespan", "new-object",
     "compare-object", "group-object", "join-path", "test-path", "write-output", "write-host", "convertto-json")
)  # fmt: skip
_FIELDS = ("Type", "DeploymentAction", "IsAssigned", "BrowseOnly", "AutoSelectOnWebSites", "UpdateID", "RevisionNumber",
           "CategoryIDs", "IsInstalled", "IsHidden", "IsPresent", "RebootRequired")  # fmt: skip
_CRITERION = re.compile(
    r"(?:\b(?P<field>\w+)\s*(?P<sign>!=|=|\bcontains\b)\s*(?P<value>'[^']*'|\"[^\"]*\"|[\w-]+))", re.IGNORECASE
)
_PATTERN = re.compile(r"-c?(?:not)?match\s+'([^']{1,500})'", re.IGNORECASE)
_REFUSED = ("unterminated", "nothing to repeat", "unbalanced parenthesis", "bad escape (end of pattern)")
_FIRST_TRUE = re.compile(r"\s*\$true\s*", re.IGNORECASE)
_FALSE = re.compile(r"(?:\$false|\$null|,\s*\$false|0|''|\"\")?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is said of a filter. fails: the whole round of updates ends with an error."""

    why: str
    hint: str | None
    fails: bool = False


def check_filters(template: NodeView, context: RuleContext) -> None:
    """E88 and W89: filters that fail, or do something else than they say; of each step the first `_MOST`."""
    for step in customizers_of(template, "WindowsUpdate"):
        items = step.items("filters")
        if not items or any(item.kind is not NodeKind.STRING for item in items):
            continue
        doubts = ((item, doubt) for item in items for doubt in doubts_of(str(item.value)))
        for item, doubt in islice(doubts, _MOST):
            _say(step, item, doubt, context)
        if of_list := _of_list([str(item.value) for item in items]):
            _say(step, items[0], of_list, context)


def _say(step: NodeView, item: Node, doubt: Doubt, context: RuleContext) -> None:
    say = context.findings.error if doubt.fails else context.findings.warning
    say("E88" if doubt.fails else "W89", item.span, doubt.why, path=step.path, hint=doubt.hint)


def _of_list(filters: list[str]) -> Doubt | None:
    """What is wrong with all of them together: the first that fits decides, and what none fits is not installed."""
    parts = [text.partition(":") for text in filters]
    if not any(colon for _, colon, _ in parts):
        return None  # each has its own finding, which says the same
    includes = [expression for action, colon, expression in parts if colon and action.lower() == "include"]
    if not includes:
        return Doubt("no filter includes anything: nothing is installed", 'end the list with "include:$true"')
    for index, (action, _, expression) in enumerate(parts[:-1]):
        if _FIRST_TRUE.fullmatch(expression) and action.lower() in _ACTIONS:
            rest = f"filters after '{filters[index]}' are never asked: it fits every update"
            return Doubt(rest, "the first filter that fits decides: put it last")
    return None


def doubts_of(text: str) -> Iterator[Doubt]:
    """What is wrong with one filter."""
    action, colon, expression = text.partition(":")
    if not colon:
        yield Doubt(
            f"'{text}' has no action: it fits no update, and what no filter includes is not installed",
            f'write "include:{text}" or "exclude:{text}"',
        )
        return
    if action.lower() not in _ACTIONS:
        blank = action.strip().lower() in _ACTIONS
        what = f"the action '{action}' {'has a blank in it' if blank else 'is not include or exclude'}"
        meant = action.strip().lower() if blank else "exclude"
        yield Doubt(f"{what}: such a filter excludes what it fits", f'write "{meant}:{expression.strip()}"')
    yield from _of_expression(expression)


def _of_expression(expression: str) -> Iterator[Doubt]:
    from aibemu.template.scripts.powershell_parts import calls_of, mistakes_of
    from aibemu.template.scripts.powershell_tokens import tokens_of

    if _FALSE.fullmatch(expression.strip()):
        yield Doubt("the filter has no condition, or one that is never true: it fits no update", "remove it")
        return
    found = tokens_of(expression)
    if wrong := mistakes_of(found):
        yield Doubt(f"PowerShell cannot read the condition: {wrong[0].what}", _FAILS, fails=True)
        return
    for call in calls_of(found):
        if call.name.startswith("_.") or call.name in ("true", "false", "_"):
            yield Doubt(f"'{call.name}' is taken for a command", f"write ${call.name}", fails=True)
        elif call.name not in _COMMANDS and not call.name.startswith("get-"):
            yield Doubt(f"'{call.name}' is taken for a command, and Windows has none of that name", _FAILS, fails=True)
    for token in found.tokens:
        if token.text == "=" and not token.command:
            yield Doubt("`=` assigns, and does not compare: the filter then depends on the value alone", "write -eq")
        elif token.text.startswith("==") and not token.command:
            yield Doubt("PowerShell has no `==`", "write -eq", fails=True)
    yield from _of_properties(expression)
    yield from _of_texts(expression)
    if not re.search(r"\$(?:_|psitem)\b", expression, re.IGNORECASE) and not _FIRST_TRUE.fullmatch(expression):
        yield Doubt("the condition does not look at the update, which is $_: it fits all of them, or none", None)


_FAILS = "a filter that fails ends the step: no update is installed"
_OF_UPDATE = re.compile(r"\$(?:_|psitem)\.(\w+)", re.IGNORECASE)
# Doubts of one step that are told: what is near to a wrong name takes time to find.
_MOST = 20
_BLOCK = re.compile(r"\{[^{}]*\}")


def _of_properties(expression: str) -> Iterator[Doubt]:
    """Properties of the update itself: in `{ }` and `$( )` $_ is something else."""
    seen = {name.lower() for name in _PROPERTIES} | set(_ANY_OBJECT)
    for match in _OF_UPDATE.finditer(_BLOCK.sub("", expression)):
        if match[1].lower() not in seen:
            seen.add(match[1].lower())
            hint = did_you_mean(match[1], _PROPERTIES) or "it has $_.Title, $_.KBArticleIDs, $_.MsrcSeverity and others"
            yield Doubt(f"an update has no property '{match[1]}': the search ends with an error", hint, fails=True)


def _of_texts(expression: str) -> Iterator[Doubt]:
    if "kbarticleids" in expression.lower() and (match := re.search(r"['\"]KB(\d+)['\"]", expression, re.IGNORECASE)):
        yield Doubt(f"KBArticleIDs are numbers without KB: '{match[0][1:-1]}' fits none", f"write '{match[1]}'")
    for match in re.finditer(r"-c?(?:not)?like\s+(?:'([^']*)'|\"([^\"]*)\")", expression, re.IGNORECASE):
        pattern = match[1] or match[2] or ""
        if found := re.search(r"(?<!`)\[(\w{2,})\]", pattern):
            why = f"'[{found[1]}]' stands for one of its letters in -like"
            yield Doubt(why, f"write '`[{found[1]}`]', or use $_.Title.Contains('[{found[1]}]')")
    for match in _PATTERN.finditer(expression):
        if (refused := _no_pattern(match[1])) is not None:
            yield Doubt(f"'{match[1]}' is no regular expression: {refused}", "for `*` write -like", fails=True)
    if match := re.search(r"\.Title\s+-c?(?:eq|contains|in)\s+'[^'*]*\*[^']*'", expression, re.IGNORECASE):
        yield Doubt("`*` has a meaning for -like only", "write -like in place of the operator")


def _no_pattern(text: str) -> str | None:
    """Why .NET refuses a pattern, as far as Python refuses it for the same reason."""
    try:
        re.compile(text)
    except re.error as error:
        return error.msg if any(known in error.msg for known in _REFUSED) else None
    return None


def check_criteria(template: NodeView, context: RuleContext) -> None:
    """W91: Windows Update refuses criteria that it cannot read, at every try."""
    for step in customizers_of(template, "WindowsUpdate"):
        text = step.text("searchCriteria")
        if text and (why := _bad_criteria(text)):
            hint = "for example BrowseOnly=0 and IsInstalled=0"
            context.findings.warning("W91", step.at("searchCriteria"), why, path=step.path, hint=hint)


def _bad_criteria(text: str) -> str | None:
    known = {name.lower() for name in _FIELDS}
    for match in _CRITERION.finditer(text):
        if match["field"].lower() not in known:
            return f"Windows Update searches by no field '{match['field']}', only by {', '.join(_FIELDS)}"
    rest = _CRITERION.sub(" 1 ", text)
    if not re.fullmatch(r"[\s(]*1[\s)]*(?:(?:and|or)[\s(]*1[\s)]*)*", rest, re.IGNORECASE):
        return f"Windows Update cannot read the criteria '{text}': they are FIELD=VALUE, joined by `and` or `or`"
    return None


CHECKS = (check_filters, check_criteria)
