from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.errors import Span, UsageError
from aibemu.submission.matching import Suppression, Suppressions
from aibemu.submission.suppressions import find_file, load_suppressions, read
from aibemu.template import catalogue

STEP = "ImageTemplate.properties.customize"


@pytest.fixture(autouse=True)
def _rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is to suppress, whatever the catalogue holds today."""
    rules = {id_: SimpleNamespace(id=id_) for id_ in ("E20", "L01", "L02", "W27", "W28")}
    monkeypatch.setattr(catalogue, "RULES", tuple(rules.values()), raising=False)
    monkeypatch.setattr(catalogue, "find", rules.get, raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder in it; the current folder is the repository's."""
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "images").mkdir()
    monkeypatch.chdir(tmp_path / "repo")
    return tmp_path / "repo"


def found(
    id_: str = "W27", *, file: str = "web.json", path: str = f"{STEP}[0]", severity: Severity = Severity.WARNING
) -> Diagnostic:
    span = Span(file=file, line=3, column=5)
    return Diagnostic(id=id_, severity=severity, message="no checksum", span=span, path=path)


def settings(project: Path, text: str, folder: str = ".") -> None:
    (project / folder / ".aibemu.yaml").write_text(text)


def entry(**keys: str) -> str:
    lines = [f"{key}: {value}" for key, value in {"id": "W27", "reason": "our own server", **keys}.items()]
    return "suppress:\n  - " + "\n    ".join(lines) + "\n"


def refusal(text: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        list(read(text, "x/.aibemu.yaml"))
    return refused.value


def test_without_a_file_everything_is_kept(project: Path) -> None:
    applied = load_suppressions(Path("web.json"), Path.cwd()).apply([found()])
    assert (applied.kept, applied.suppressed) == ((found(),), ())


def test_without_a_file_yaml_and_the_catalogue_are_not_imported(project: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from aibemu.submission.suppressions import load_suppressions as load;"
        "load(Path('web.json'), Path.cwd()).apply([]); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"yaml", "aibemu.template.catalogue"} & set(done.stdout.split())


def test_a_warning_is_suppressed_with_its_reason(project: Path) -> None:
    settings(project, entry())
    other = found("W28")
    applied = load_suppressions(Path("web.json"), Path.cwd()).apply([found(), other])
    assert applied.kept == (other,)
    assert applied.suppressed == ((found(), "our own server"),)


def test_the_nearest_file_up_to_the_repository_holds(project: Path) -> None:
    template = project / "images" / "web.json"
    settings(project.parent, entry(id="W28"))
    assert find_file(template) is None, "above the repository nothing is looked for"
    settings(project, entry())
    assert find_file(template) == project / ".aibemu.yaml"
    assert find_file(project / "images" / ".." / "images" / "web.json") == project / ".aibemu.yaml"
    settings(project, entry(), "images")
    assert find_file(template) == project / "images" / ".aibemu.yaml"


def test_a_work_tree_whose_git_is_a_file_is_a_repository_too(tmp_path: Path) -> None:
    settings(tmp_path, entry())
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text("gitdir: elsewhere\n")
    assert find_file(tmp_path / "tree" / "web.json") is None


@pytest.mark.parametrize(
    ("glob", "file", "matches"),
    [
        ("web*.json", "web.json", True),
        ("web*.json", "web-2.json", True),
        ("web*.json", "db.json", False),
        ("web*.json", "images/web.json", True),
        ("images/web.json", "images/web.json", True),
        ("./images/*.json", "images/web.json", True),
        ("images/*.json", "images/old/web.json", False),
        ("images/**/*.json", "images/web.json", True),
        ("images/**/*.json", "images/a/b/web.json", True),
        ("images/**", "images/a/b/web.json", True),
        ("w?b.json", "web.json", True),
        ("w.b.json", "web.json", False),
        ("images/web.json", "web.json", False),
        ("https://me.example/**", "https://me.example/a/b.sh", True),
    ],
)
def test_files_are_named_from_the_folder_of_the_suppressions(glob: str, file: str, matches: bool) -> None:
    suppression = Suppression(id="W27", reason="r", file=glob)
    shell = Suppressions(template="t.json", base="/repo", folder="/repo", entries=(suppression,))
    assert bool(shell.apply([found(file=file)]).suppressed) is matches


def test_a_file_is_the_same_however_it_is_named(project: Path) -> None:
    settings(project, entry(file="images/web.json"))
    for name in ("images/web.json", "./images/../images/web.json", str(project / "images" / "web.json")):
        assert load_suppressions(Path(name), Path.cwd()).apply([found(file=name)]).suppressed, name


@pytest.mark.parametrize(
    ("prefix", "path", "matches"),
    [
        (f"{STEP}[0]", f"{STEP}[0]", True),
        (f"{STEP}[0]", f"{STEP}[0].inline[3]", True),
        (STEP, f"{STEP}[0]", True),
        (f"{STEP}[1]", f"{STEP}[10]", False),
        (f"{STEP}[1", f"{STEP}[10]", False),
        ("ImageTemplate.properties.custom", f"{STEP}[0]", False),
        (f"{STEP}[*]", f"{STEP}[17]", True),
        (f"{STEP}[*].inline", f"{STEP}[17].inline[2]", True),
        (f"{STEP}[*]", "ImageTemplate.properties.distribute[0]", False),
        ("ImageTemplate", "", False),
    ],
)
def test_a_path_holds_for_all_below(prefix: str, path: str, matches: bool) -> None:
    suppression = Suppression(id="W27", reason="r", path=prefix)
    assert suppression.covers(found(path=path), "web.json") is matches


def test_an_error_stays_and_that_is_said(project: Path) -> None:
    settings(project, entry(id="E20"))
    error = found("E20", severity=Severity.ERROR)
    applied = load_suppressions(Path("web.json"), Path.cwd()).apply([error])
    assert applied.suppressed == ()
    assert applied.kept[0] == error
    (note,) = applied.kept[1:]
    assert (note.id, note.severity, str(note.span)) == ("L02", Severity.NOTE, ".aibemu.yaml:2:5")
    assert "web.json:3:5" in note.message


def test_what_is_an_error_here_and_a_warning_there_is_suppressed_there(project: Path) -> None:
    settings(project, entry())
    error, warning = found(severity=Severity.ERROR), found()
    applied = load_suppressions(Path("web.json"), Path.cwd()).apply([error, warning])
    assert [d.id for d in applied.kept] == ["W27", "L02"]
    assert [d for d, _ in applied.suppressed] == [warning]


def test_a_suppression_that_matches_nothing_is_noted_at_its_place(project: Path) -> None:
    settings(project, "# ours\n" + entry())
    (note,) = load_suppressions(Path("web.json"), Path.cwd()).apply([found("W28")]).kept[1:]
    assert (note.id, note.severity, str(note.span)) == ("L01", Severity.NOTE, ".aibemu.yaml:3:5")
    assert note.message == "the suppression of W27 matches nothing in web.json"


@pytest.mark.parametrize(
    ("keys", "template", "noted"),
    [
        ({}, "web.json", True),
        ({}, "images/web.json", False),
        ({"file": "images/web.json"}, "images/web.json", True),
        ({"file": "web.json"}, "web.json", True),
        ({"file": "db.json"}, "web.json", False),
        ({"file": "'web*.json'"}, "web.json", False),
    ],
)
def test_nothing_is_said_of_what_may_be_for_other_templates(
    project: Path, keys: dict[str, str], template: str, noted: bool
) -> None:
    settings(project, entry(**keys))
    kept = load_suppressions(Path(template), Path.cwd()).apply([]).kept
    assert [d.id for d in kept] == (["L01"] if noted else [])


def test_nothing_is_said_when_an_error_stopped_the_search(project: Path) -> None:
    settings(project, entry())
    error = found("J01", severity=Severity.ERROR)
    assert load_suppressions(Path("web.json"), Path.cwd()).apply([error]).kept == (error,)


def test_notes_about_suppressions_can_be_suppressed(project: Path) -> None:
    settings(project, entry())
    applied = load_suppressions(Path("web.json"), Path.cwd(), ["L01"]).apply([])
    assert applied.kept == ()
    assert [d.id for d, _ in applied.suppressed] == ["L01"]


def test_ids_are_disabled_on_the_command_line(project: Path) -> None:
    applied = load_suppressions(Path("web.json"), Path.cwd(), ["w27", "SC2086"]).apply(
        [found(), found("SC2086"), found("W28")]
    )
    assert applied.kept == (found("W28"),), "and nothing is said of what matches nothing"
    assert {reason for _, reason in applied.suppressed} == {"disabled with --disable"}


def test_an_error_cannot_be_disabled_on_the_command_line(project: Path) -> None:
    error = found("E20", severity=Severity.ERROR)
    kept = load_suppressions(Path("web.json"), Path.cwd(), ["E20"]).apply([error]).kept
    assert [d.id for d in kept] == ["E20", "L02"]
    assert kept[1].message.startswith("--disable E20 does not hold")
    assert kept[1].span == error.span


def test_an_unknown_id_is_an_error_with_its_place(project: Path) -> None:
    settings(project, entry(id="W277"), "images")
    with pytest.raises(UsageError) as refused:
        load_suppressions(Path("images/web.json"), Path.cwd())
    assert str(refused.value.span) == "images/.aibemu.yaml:2:9"
    assert "W277" in refused.value.message
    assert refused.value.hint and refused.value.hint.startswith("did you mean W27?")
    with pytest.raises(UsageError, match="--disable W2: there is no finding 'W2'"):
        load_suppressions(Path("web.json"), Path.cwd(), ["W2"])


def test_the_place_is_absolute_when_the_template_is(project: Path) -> None:
    settings(project, entry())
    (note,) = load_suppressions(project / "web.json", Path.cwd()).apply([]).kept
    assert note.span.file == str(project / ".aibemu.yaml")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("supress: []\n", "1:1", "unknown key 'supress'"),
        ("- id: W27\n", "1:1", "one key, `suppress`"),
        ("suppress: W27\n", "1:11", "holds a list"),
        ("suppress:\n  - W27\n", "2:5", "an entry has the keys"),
        ("suppress:\n  - reason: r\n", "2:5", "no `id`"),
        ("suppress:\n  - id: W27\n", "2:5", "no `reason`"),
        ("suppress:\n  - id: W27\n    reason:\n", "3:12", "`reason` must be a text"),
        ("suppress:\n  - id: W27\n    reason: ' '\n", "3:13", "`reason` must be a text"),
        ("suppress:\n  - id: W27\n    id: W28\n    reason: r\n", "3:5", "'id' is there twice"),
        ("suppress:\n  - id: W27\n    reason: r\n    line: 3\n", "4:5", "unknown key 'line'"),
        ("suppress:\n  - id: [W27]\n    reason: r\n", "2:9", "`id` must be a text"),
        ("suppress:\n  - id: W27\n    reason: r\n    file: *.json\n", "4:12", "is not YAML"),
        ("suppress: [\n", "2:1", "is not YAML"),
    ],
)
def test_a_mistake_is_an_error_with_its_place(text: str, place: str, words: str) -> None:
    error = refusal(text)
    assert str(error.span) == f"x/.aibemu.yaml:{place}"
    assert words in error.message


def test_mistakes_come_with_advice() -> None:
    assert refusal("supress: []\n").hint == "did you mean suppress?"
    assert refusal(entry(file="*.json")).hint == "put a value that begins with `*` or `[` into quotes"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "suppress:\n", "suppress: []\n"])
def test_an_empty_file_suppresses_nothing(text: str) -> None:
    assert list(read(text, "x")) == []


def test_a_file_that_is_no_text_is_an_error(project: Path) -> None:
    (project / ".aibemu.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load_suppressions(Path("web.json"), Path.cwd())


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        list(read(text, "x"))
    except UsageError as error:
        assert error.message


@given(st.text(alphabet="ab*?/.[]{}\\", max_size=12), st.text(alphabet="ab/.[]", max_size=8))
def test_any_glob_and_any_path_can_be_asked(pattern: str, name: str) -> None:
    suppression = Suppression(id="W27", reason="r", file=pattern, path=pattern)
    assert suppression.covers(found(path=name), name) in (True, False)
