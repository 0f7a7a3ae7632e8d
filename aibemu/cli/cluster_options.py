"""`--hosts` and `--scheduler`: the cluster whose workers build, instead of this computer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.clock import CancelToken, Deadline
from aibemu.errors import UsageError

if TYPE_CHECKING:
    from aibemu.cluster.connecting import Where
    from aibemu.cluster.remote import Elsewhere
    from aibemu.settings import Settings


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The two options."""
    hosts = click.option(
        "--hosts", metavar="HOST,HOST", help="Build on these hosts, by SSH (extra aibemu[cluster]; docs/cluster.md)."
    )
    scheduler = click.option(
        "--scheduler", metavar="tcp://HOST:PORT", help="Build on the workers of this Dask scheduler (the same extra)."
    )
    return hosts(scheduler(function))


def where_of(settings: Settings, hosts: str | None, scheduler: str | None) -> Where | None:
    """The cluster that was named; None for this computer. `UsageError` for what names none."""
    if hosts is None and scheduler is None:
        return None
    from aibemu.cluster.connecting import Where, check

    names = tuple(name.strip() for name in (hosts or "").split(",") if name.strip())
    if hosts is not None and (not names or any(name.startswith("-") for name in names)):
        raise UsageError("--hosts names no host", hint="for example --hosts lab1,lab2")
    where = Where(
        scheduler=scheduler, hosts=names, python=settings.cluster_python,
        tls=Path(settings.cluster_tls).expanduser() if settings.cluster_tls else None,
    )  # fmt: skip
    check(where)
    return where


@contextmanager
def on_cluster(app: App, where: Where | None, cancel: CancelToken) -> Iterator[Elsewhere | None]:
    """The cluster as a place for builds, as long as the block lasts; None where that is this computer."""
    if where is None:
        yield None
        return
    from aibemu.cluster.connecting import connected
    from aibemu.cluster.remote import Elsewhere

    deadline = Deadline(clock=app.clock, cancel=cancel)
    app.say(f"connecting to the cluster {where.name}")
    with connected(where, deadline=deadline, warn=app.warn) as cluster:
        yield Elsewhere(cluster=cluster, host=cluster.host(deadline))
