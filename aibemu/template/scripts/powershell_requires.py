"""W64: `#Requires` lines that a Windows guest does not fulfil. Then nothing of the script runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Script
from aibemu.template.scripts.powershell_model import Kind

_LINE = re.compile(r"#requires\s+(?P<rest>.*)", re.IGNORECASE)
_OPTION = re.compile(r"-(?P<name>\w+)(?:\s+|:\s*|$)(?P<value>(?:@\{[^{}]*\}|[^-\s]|(?<!\s)-|\s(?!-))*)")
_KNOWN = ("version", "psedition", "modules", "pssnapin", "assembly", "runasadministrator", "shellid")
_MODULE = re.compile(
    r"@\{[^{}]{0,300}?ModuleName\s*=\s*['\"]?(?P<table>[\w.]+)[^{}]{0,300}\}|['\"]?(?P<name>[\w.]+)['\"]?",
    re.IGNORECASE,
)
_NEWEST = (5, 1)
# Characters of a line, such lines of a script, and modules of a line, that are looked at.
_LONGEST_LINE, _LINES, _MODULES = 4096, 20, 50
# Of a Windows Server 2019 (PSScriptAnalyzer's profile of it), and what its roles bring.
_WINDOWS_MODULES = """
    activedirectory appbackgroundtask applocker appvclient appx bestpractices bitlocker bitstransfer branchcache
    cimcmdlets configci defender deliveryoptimization directaccessclientcomponents dism dnsclient dnsserver
    eventtracingmanagement failoverclusters grouppolicy hyper-v iisadministration international iscsi iscsitarget kds
    microsoft.powershell.archive microsoft.powershell.core microsoft.powershell.diagnostics microsoft.powershell.host
    microsoft.powershell.localaccounts microsoft.powershell.management microsoft.powershell.odatautils
    microsoft.powershell.operation.validation microsoft.powershell.security microsoft.powershell.utility
    microsoft.wsman.management mmagent msdtc netadapter netconnection netdiagnostics neteventpacketcapture netlbfo
    netnat netqos netsecurity netswitchteam nettcpip networkconnectivitystatus networkswitchmanager networktransition
    nfs packagemanagement pcsvdevice persistentmemory pester pki platformidentifier pnpdevice powershellget
    printmanagement processmitigations psdesiredstateconfiguration psdiagnostics psreadline psscheduledjob psworkflow
    psworkflowutility remotedesktop scheduledtasks secureboot servercore servermanager servermanagertasks smbshare
    smbwitness softwareinventorylogging startlayout storage storagebuscache tls troubleshootingpack
    trustedplatformmodule uev updateservices useraccesslogging vpnclient wdac webadministration whea
    windowsdeveloperlicense windowserrorreporting windowssearch windowsupdate windowsupdateprovider"""
_OF_WINDOWS = frozenset(_WINDOWS_MODULES.split())


def check_requires(judge: Judge, before: Sequence[Script], unseen: bool) -> None:
    """W64. before: the scripts of the steps before, one of which may install a module. unseen: there are steps before
    whose text is not known."""
    comments = (token for token in judge.tokens.tokens if token.kind is Kind.COMMENT)
    lines = ((token, match) for token in comments if (match := _LINE.match(token.text[:_LONGEST_LINE])))
    for token, match in islice(lines, _LINES):
        for why, hint in _unfulfilled(match["rest"], before, unseen):
            end = "the step fails" if judge.script.inline and judge.context.wrapper == "new" else "the step ends with 0"
            judge.warn("W64", token.at, f"{why}: nothing of the script runs, and {end}", hint)


def _unfulfilled(rest: str, before: Sequence[Script], unseen: bool) -> Iterator[tuple[str, str]]:
    for option in _OPTION.finditer(rest):
        name, value = option["name"].lower(), option["value"].strip()
        full = next((known for known in _KNOWN if known.startswith(name)), None)
        if full is None:
            yield f"#Requires has no -{option['name']}", f"it has {', '.join('-' + known for known in _KNOWN)}"
        elif full == "version" and not re.fullmatch(r"\d+(?:\.\d+){0,3}", value):
            yield f"#Requires -Version '{value}' is no version", "write a number, such as 5.1"
        elif full == "version" and tuple(map(int, value.split(".")[:2])) > _NEWEST:
            yield f"#Requires -Version {value}, and Windows Server has PowerShell 5.1", "remove the line, or lower it"
        elif full == "psedition" and value.lower() == "core":
            yield "#Requires -PSEdition Core, and Windows PowerShell is the edition Desktop", "remove the line"
        elif full == "shellid" and value.strip("'\"").lower() != "microsoft.powershell":
            yield f"#Requires -ShellId {value}, and a step's PowerShell is Microsoft.PowerShell", "remove the line"
        elif full == "pssnapin" and not unseen and not _installed(value.split()[0].strip("'\""), before):
            why = f"#Requires -PSSnapin {value}, which Windows does not have and no step before installs"
            yield why, "install it in a step before: a script cannot install what it requires"
        elif full == "modules":
            for module in _modules(value):
                if module.lower() not in _OF_WINDOWS and not unseen and not _installed(module, before):
                    why = f"#Requires -Modules {module}, which Windows does not have and no step before installs"
                    yield why, "install it in a step before: a script cannot install what it requires"


def _modules(value: str) -> list[str]:
    return [match["table"] or match["name"] for match in islice(_MODULE.finditer(value), _MODULES)]


def _installed(module: str, before: Sequence[Script]) -> bool:
    """True when a script mentions the module, or all that it is a part of, such as Az of Az.Accounts."""
    names = {module.lower(), module.lower().partition(".")[0]}
    return any(name in text for text in (script.text.lower() for script in before) for name in names)
