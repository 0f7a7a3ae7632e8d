"""W45: secrets that are written out. The message never holds the secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Dialect

_VALUE = r"(?P<secret>[^\s\"'$<>{}%()`*;&|]{6,})"
# Of PowerShell: quotes around it, `$` and brackets are what makes it a value of something else.
_QUOTED = r"(?:'(?P<secret>[^'<>{}%*\s]{6,})'|\"(?P<secret2>[^\"$<>{}%*`\s]{6,})\")"
_ANY = (
    ("the signature of a SAS address", re.compile(r"[?&]sig=(?P<secret>[A-Za-z0-9%+/=]{20,})")),
    ("an account key", re.compile(r"(?:AccountKey|SharedAccessKey)=(?P<secret>[A-Za-z0-9+/=]{20,})")),
    ("a GitHub token", re.compile(r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})")),
    ("a token of GitLab or Slack", re.compile(r"\b(?P<secret>glpat-[\w-]{20,}|xox[abprs]-[\w-]{20,})")),
    ("an access key of AWS", re.compile(r"\b(?P<secret>AKIA[0-9A-Z]{16})\b")),
    ("a bearer token", re.compile(r"[Bb]earer\s+(?P<secret>[A-Za-z0-9._~+/-]{20,})")),
    ("a user with a password", re.compile(r"[Aa]uthorization:\s*[Bb]asic\s+(?P<secret>[A-Za-z0-9+/=]{12,})")),
    ("a private key", re.compile(r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----)")),
    (
        "a password in an address",
        re.compile(r"\b[a-z][a-z+]{2,9}://[\w.%+-]{1,60}:(?P<secret>[^\s\"'$<>{}/@:`]{6,80})@[\w\[]"),
    ),
    (
        "a password",
        re.compile(
            rf"(?i)(?:^|[\s;&?\"'-])[\w-]{{0,60}}(?:password|passwd|passphrase|secret|api[_-]?key)=[\"']?{_VALUE}"
        ),
    ),
    (
        "a token",
        re.compile(
            r"(?i)(?:^|[\s;&?\"'-])[\w-]{0,60}(?:token|[_-]pat|access[_-]?key|account[_-]?key)[ \t]*=[ \t]*[\"']?"
            r"(?P<secret>(?=[\w.+/=-]{0,200}[0-9])(?=[\w.+/=-]{0,200}[a-z])[\w.+/=-]{20,})"
        ),
    ),
)
# What stands before a password in a shell script; SECRET is the password itself.
_SHELL = tuple(
    ("a password", re.compile(pattern.replace("SECRET", _VALUE).replace("QUOTE", "[\"']?")))
    for pattern in (
        r"\b(?:docker|podman|az|helm)\s+(?:\w+\s+)?login\b[^\n;|]{0,300}?\s(?:-p|--password)[ =]QUOTESECRET",
        r"\s--password\s+QUOTE(?!-)SECRET",
        r"\bsshpass\s+-p\s*QUOTESECRET",
        r"\b(?:mysql|mysqladmin|mariadb)\b[^\n;|]{0,300}?\s-p(?!-)SECRET",
        r"\bcurl\b[^\n;|]{0,300}?\s(?:-u|--user)[ =]?QUOTE[\w.@-]{1,60}:SECRET",
        r"\b(?:echo|printf)\s+(?:-\w+\s+)?QUOTE[\w.-]{1,60}:SECRETQUOTE\s*\|\s*(?:sudo\s+)?(?:/\w{1,9}/)?chpasswd",
        r"\bchpasswd\s+<<<\s*QUOTE[\w.-]{1,60}:SECRET",
        r"\becho\s+QUOTESECRETQUOTE\s*\|\s*(?:sudo\s+-S\b|(?:sudo\s+)?passwd\s+--stdin)",
    )
)
_POWERSHELL = tuple(
    ("a password", re.compile("(?i)" + pattern.replace("QUOTED", _QUOTED)))
    for pattern in (
        r"\$(?:\w+:)?\w*(?:password|passwd|passphrase|secret|pwd|api_?key)\s*=\s*(?:\[\w+\]\s*)?QUOTED",
        r"ConvertTo-SecureString\s+(?=[^\n]{0,300}-AsPlainText)(?:-\w+\s+)*QUOTED",
        r"\s[-/](?:\w*password|pass|rp|pwd)[ :=]\s*QUOTED",
        r"\bnet(?:\.exe)?\s+user\s+\S+\s+QUOTED",
        r"\bnet(?:\.exe)?\s+user\s+\S+\s+(?![/*$\"'])(?P<secret>[^\s$<>{}%()`*;&|/]{6,})",
        r"\bcmdkey\b[^\n]{0,300}/pass:(?P<secret>[^\s\"'$<>{}%()`*;&|]{6,})",
        r"DefaultPassword['\"]?\s+(?:-Value\s+|-PropertyType\s+\w+\s+)*QUOTED",
        r"\bschtasks\b[^\n]{0,300}\s/rp\s+(?P<secret>[^\s\"'$<>{}%()`*;&|/]{6,})",
    )
)
# Words that stand where a secret would.
_NO_SECRET = re.compile(
    r"(?i)(?:change[-_]?me|your[-_ ]?\w*|my[-_]?(?:password|secret|token)|example\w*|placeholder|dummy|redacted"
    r"|replace\w*|required|optional|disabled|enabled|prompt|password|passwort|secret|string|default|prohibit-password"
    r"|without-password"
    r"|[x*.#_-]+|none|null|true|false|/(?:etc|run|var|opt|home|tmp|mnt|root|usr)/\S*|@\S+|file:\S+|env:\S+|https?:\S*"
    r"|\w+[-_](?:name|file|path|version|type|url|uri|id|length|policy)|[\w.-]*(?:\.txt|\.json|\.pem|\.key|\.env))"
)


def check_secrets(judge: Judge) -> None:
    """W45: a template is stored, shown and logged."""
    if not judge.script.inline:
        return
    told = 0
    # One secret may fit several patterns.
    for start, end, what in sorted(_found(judge)):
        if start < told:
            continue
        told = end
        message = f"this looks like {what}: whoever may read the template or the build's log sees it"
        hint = "fetch it in the script from a key vault, with an identity of vmProfile.userAssignedIdentities"
        judge.warn("W45", start, message, hint)


def _found(judge: Judge) -> Iterator[tuple[int, int, str]]:
    own = _POWERSHELL if judge.script.dialect is Dialect.POWERSHELL else _SHELL
    for what, pattern in (*_ANY, *own):
        for match in pattern.finditer(judge.script.text):
            group = match.lastgroup or "secret"
            if not _NO_SECRET.fullmatch(match[group]):
                yield match.start(group), match.end(group), what
