"""What a build asks of the folders of this host, and that `doctor` and a build say the same of it."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from aibemu import doctor, readiness
from aibemu.clock import SystemClock
from aibemu.errors import HostNotReady
from aibemu.hypervisor import Level
from aibemu.paths import Home

Usage = namedtuple("Usage", "total used free")


def levels(findings: object) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings}  # type: ignore[attr-defined]


def free(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(gib * readiness.GIB)))


def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.at(tmp_path / "not" / "there")
    for gib, level in ((50, Level.OK), (5, Level.WARNING), (1, Level.ERROR)):
        free(monkeypatch, gib)
        assert levels(readiness.check_space(home)) == {"disk space for runs": level}
    assert not home.runs.exists()


def test_a_build_is_refused_for_what_doctor_calls_an_error_and_warned_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.at(tmp_path)
    free(monkeypatch, 50)
    assert readiness.require_ready(home) == []
    free(monkeypatch, 5)
    (warning,) = readiness.require_ready(home)
    assert warning.startswith("disk space for runs: 5.0 GiB free at ") and "aibemu clean" in warning
    free(monkeypatch, 2.9)
    with pytest.raises(HostNotReady, match=r"disk space for runs: 2\.9 GiB free at ") as caught:
        readiness.require_ready(home)
    assert caught.value.exit_code == 4
    found = doctor.examine(home, SystemClock(), {})
    assert any(one.check == "disk space for runs" and one.level is Level.ERROR for one in found)


def test_a_long_home_is_no_error_for_its_sockets_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    long = Home.at(Path("/" + "h" * 90))
    assert levels(readiness.check_socket_length(Home.at(Path("/h")))) == {"socket paths": Level.OK}
    (found,) = readiness.check_socket_length(long)
    assert found.level is Level.NOTE and "a private folder in /tmp is used" in found.message


def test_a_home_below_which_a_runs_files_have_no_room_is_an_error_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = Home.at(tmp_path.joinpath(*["h" * 250] * 14))
    found = doctor.examine(deep, SystemClock(), {})
    assert any(one.check == "path of the home" and one.level is Level.ERROR for one in found)
    free(monkeypatch, 50)
    with pytest.raises(HostNotReady, match="path of the home"):
        readiness.require_ready(deep)


@pytest.mark.parametrize("verb", ["doctor", "status", "run"])
def test_a_home_that_no_file_system_takes_is_the_hosts_fault_not_a_bug(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from aibemu.cli.main import run

    template = tmp_path / "t.json"
    shutil.copy(Path(__file__).parents[2] / "fixtures/templates/ok/linux-quickstart.json", template)
    words = [verb, *([str(template)] if verb == "run" else []), "--home", str(tmp_path / ("h" * 300))]
    assert run(words) == 4
    assert "File name too long" in capsys.readouterr().err


def test_a_short_name_of_a_long_home_is_as_long_as_what_it_stands_for(tmp_path: Path) -> None:
    """That is what a machine's sockets are below."""
    (tmp_path / ("h" * 90)).mkdir()
    (tmp_path / "short").symlink_to("h" * 90)
    (found,) = readiness.check_socket_length(Home.at(tmp_path / "short"))
    assert found.level is Level.NOTE


def test_a_long_home_is_an_error_when_there_is_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(directory: Path, name: str) -> Path:
        raise HostNotReady("there is no place for a unix socket", hint="set AIBEMU_HOME")

    monkeypatch.setattr(readiness, "socket_directory", nowhere)
    home = Home.at(Path("/" + "h" * 90))
    (found,) = readiness.check_socket_length(home)
    assert (found.level, found.fix) == (Level.ERROR, "set AIBEMU_HOME")
    free(monkeypatch, 50)
    with pytest.raises(HostNotReady, match="there is no place for a unix socket"):
        readiness.require_ready(home)
