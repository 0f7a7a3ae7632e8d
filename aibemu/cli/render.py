"""Errors for people and for programs: the one place where either is made."""

from __future__ import annotations

from typing import Any

from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.cli.app import App
from aibemu.errors import AibemuError, error_record
from aibemu.redact import Redactor
from aibemu.text import painted

RED, BOLD = "31;1", "1"
# Characters of one text of an error: it may repeat what somebody typed, or gave us.
LONGEST = 2000


def human(error: AibemuError, redactor: Redactor, *, color: bool = False, explain: bool = False) -> list[str]:
    """`error: message`, where, why, what to do, what to type. explain: with the words that Azure has for it."""
    lines: list[str] = [_led(f"error: {_bounded(error.message, redactor)}", color)]
    if isinstance(error, TemplateInvalid):
        from aibemu.cli.diagnostics import count, render

        mask = redactor.text
        verdict = _led(f"error: {error.verdict}: {count(error.diagnostics)}", color)
        found = render(error.diagnostics, color=color, mask=mask, texts=error.texts, explain=explain)
        return [*found, "", verdict]
    if error.span:
        lines.append(painted("  at ", (str(error.span), BOLD if color else "")))
    lines += [f"  {_bounded(detail, redactor)}" for detail in error.details]
    if error.hint:
        lines.append(f"  hint: {_bounded(error.hint, redactor)}")
    if error.commands:
        lines += ["  type next:", *(f"    {command}" for command in error.commands[:3])]
    return lines


def _bounded(text: str, redactor: Redactor) -> str:
    """Masked before it is cut: half a secret is one too. Its end stays, for there is the reason."""
    shown = redactor.text(text) if len(text) > LONGEST else text
    if len(shown) <= LONGEST:
        return shown
    half = LONGEST // 2
    return f"{shown[:half]}... ({len(shown) - 2 * half} more characters) ...{shown[-half:]}"


def as_json(error: AibemuError) -> dict[str, Any]:
    """The envelope's `error` (design: user-experience)."""
    record = error_record(error)
    details: dict[str, Any] = {"at": record["span"], "lines": record["details"], "hint": record["hint"]}
    if isinstance(error, TemplateInvalid):
        from aibemu.cli.diagnostics import as_data

        details["diagnostics"] = as_data(error.diagnostics)
    return {
        "code": record["code"], "category": error.category, "message": record["message"],
        "retryable": error.retryable, "details": details, "actions": [_action(name) for name in record["commands"]],
    }  # fmt: skip


def show(app: App, error: AibemuError) -> None:
    """Tell the person or the program, as `app` says."""
    if isinstance(error, TemplateInvalid):
        app.redactor.learn(error.secrets)
    if app.output == "json":
        try:
            app.envelope("error", error=as_json(error))
            return
        except BrokenPipeError:
            raise
        except OSError:  # nothing can be written there: a full disk
            pass
    for line in human(error, app.redactor, color=app.error_color, explain=app.explain):
        app.complain(line)


def _action(command: str) -> dict[str, str]:
    words = command.split()
    return {"id": words[1] if len(words) > 1 and words[0] == "aibemu" else words[0], "command": command}


def _led(text: str, color: bool) -> str:
    """Its first word in red, if it is one line: a message of several is shown as such."""
    word, blank, rest = text.partition(" ")
    return painted((word, RED), blank + rest) if color and "\n" not in text else text
