"""The failure screen: what failed, where in the template, what it said, what probably helps, what to type next."""

from __future__ import annotations

from aibemu.reports.remedies import find_remedy
from aibemu.reports.summary import RunSummary, StepSummary
from aibemu.text import short

MOST_COMMANDS = 3
MOST_DETAILS = 30
PHASE_OF_ROLE = {"customizer": "customize", "validator": "validate"}
STEP_CODES = {"CUSTOMIZER_FAILED", "GENERALIZE_FAILED", "VALIDATION_FAILED"}


def failure(summary: RunSummary) -> list[str]:
    """The screen as lines, without colour; empty for a run that did not fail."""
    lines = explanation(summary)
    typed = commands(summary, failing_step(summary)) if lines else []
    if typed:
        lines += ["", "  type next:", *(f"    {command}" for command in typed)]
    return lines


def explanation(summary: RunSummary) -> list[str]:
    """The same without what to type."""
    if summary.error is None:
        return []
    step = failing_step(summary)
    lines = [_title(summary, step), *_place(summary, step), f"  why:   {summary.error.get('message', '')}"]
    if step is not None:
        lines += _said(step, str(summary.error.get("message", "")))
    lines += [f"  {detail}" for detail in (summary.error.get("details") or ())[:MOST_DETAILS]]
    if advice := remedy(summary, step):
        lines += ["", f"  likely remedy: {advice}"]
    return lines


def failing_step(summary: RunSummary) -> StepSummary | None:
    """The step to blame: the last that failed or was cut off; none when the error is about something else."""
    code = (summary.error or {}).get("code", "")
    if code in STEP_CODES:
        return summary.failed_step
    if code in {"BUILD_TIMED_OUT", "PROVISION_FAILED"}:
        return next((step for step in reversed(summary.steps) if step.status in {"cancelled", "failed"}), None)
    return None


def remedy(summary: RunSummary, step: StepSummary | None) -> str | None:
    """From what the step said, else the error's own hint."""
    if step is not None and step.status == "failed":
        found = find_remedy([*step.last_lines, step.error or ""], step.exit_code)
        if found:
            return found.text
    hint = (summary.error or {}).get("hint")
    return str(hint) if hint else None


def commands(summary: RunSummary, step: StepSummary | None) -> list[str]:
    """At most three: into a machine that was kept, and rid of it; on with the run; the log of what failed."""
    suggested = [str(command) for command in (summary.error or {}).get("commands") or ()]
    wanted = [f"aibemu shell {summary.id}"] if summary.kept else []
    wanted += [command for command in suggested if command.startswith("aibemu resume")]
    if summary.kept:
        wanted.append(f"aibemu destroy {summary.id}")
    if step is not None and step.last_lines:
        wanted.append(f"aibemu logs {summary.id} --step {step.id}")
    wanted += suggested
    wanted.append(f"aibemu logs {summary.id}")
    if summary.dry_run:  # nothing was run, so there is nothing to go on with
        wanted = [command for command in wanted if not command.startswith("aibemu resume")]
    return list(dict.fromkeys(wanted))[:MOST_COMMANDS]


def _title(summary: RunSummary, step: StepSummary | None) -> str:
    phase = step.phase if step else next((p.name for p in summary.phases if p.status in {"failed", "cancelled"}), "")
    words = {"BUILD_TIMED_OUT": "TIMED OUT", "CANCELLED": "CANCELED"}
    word = words.get((summary.error or {}).get("code", ""), "FAILED")
    where = f" in phase {phase}" if phase else ""
    took = f" after {short(summary.seconds)}" if summary.seconds is not None else ""
    return f"{word}{where}{took}: {step.label or step.id}" if step else f"{word}{where}{took}"


def _place(summary: RunSummary, step: StepSummary | None) -> list[str]:
    span = (step.span if step else "") or (summary.error or {}).get("span") or ""
    lines = [f"  at:    {span}"] if span else []
    if step is not None:
        what = step.source or (f"{len(step.inline)} inline commands" if len(step.inline) > 1 else "".join(step.inline))
        lines.append(f"  step:  {step.role} {step.id} ({step.kind})" + (f": {what}" if what else ""))
        if step.exit_code is not None:
            lines.append(f"  exit:  status {step.exit_code}")
    return lines


def _said(step: StepSummary, why: str) -> list[str]:
    """Its last lines. What has no program in the guest (File) says nothing: its error speaks for it."""
    if not step.last_lines:
        if step.error and step.error not in why:
            return [f"  error: {step.error}"]
        return [] if step.kind == "File" else ["  it printed no output"]
    count = len(step.last_lines)
    return [f"  its last {count} lines:" if count > 1 else "  it said:", *(f"    | {line}" for line in step.last_lines)]
