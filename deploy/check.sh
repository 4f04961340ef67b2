#!/bin/sh
# `make check`: everything that must hold before a commit is pushed. Runs all of it, then says what failed.
set -u
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
failed=

run() {
    name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        cat "$work/out"
        failed="$failed $name"
    fi
}

# deptry reads neither setup.cfg nor a lock's intent; give it the direct requirements.
requirements() {
    python - "$1" <<'EOF'
import configparser
import sys
from pathlib import Path

setup = configparser.ConfigParser()
setup.read("setup.cfg")
folder = Path(sys.argv[1])
for name, text in (
    ("requirements.txt", setup["options"]["install_requires"]),
    ("requirements-dev.txt", setup["options.extras_require"]["dev"]),
):
    (folder / name).write_text("\n".join(line for line in text.splitlines() if line and line[0] != "#") + "\n")
EOF
}

# Two at a time, each with servers of its own: most tests wait for processes that begin or end.
tests() {
    coverage erase && coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder && coverage combine --quiet && coverage report
}

# Only where its data can be reached: offline it says nothing about us.
audit() {
    pip-audit --require-hashes --disable-pip --requirement requirements/runtime.lock >"$work/audit" 2>&1 && {
        unknown=$(grep -c "could not be audited" "$work/audit")
        [ "$unknown" = 0 ] || echo "skipped pip-audit for $unknown packages: its data don't know them" >>"$work/skipped"
        return 0
    }
    if grep -q "Found .* known vulnerabilit" "$work/audit"; then
        cat "$work/audit"
        return 1
    fi
    echo "skipped pip-audit: $(tail -n 1 "$work/audit" | cut -c 1-100)" >>"$work/skipped"
}

run "ruff format" ruff format --check --quiet .
run "ruff check" ruff check --quiet .
run "mypy" mypy
run "import-linter" lint-imports --no-cache
requirements "$work"
# Of flask-openapi-swagger only the files are served; flower and gunicorn are programs of the Procfile; the demo signs with standardwebhooks, as real senders do; werkzeug is the half of Flask that Flask's own pages import from.
run "deptry" deptry . --requirements-files "$work/requirements.txt" \
    --requirements-files-dev "$work/requirements-dev.txt" --extend-exclude 'tests|bench' \
    --per-rule-ignores 'DEP002=flask-openapi-swagger|flower|gunicorn|standardwebhooks,DEP003=werkzeug' \
    --known-first-party app --known-first-party tasks --known-first-party config \
    --known-first-party deploy --known-first-party migrations --no-ansi
run "compose schema" check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
run "pip-audit" audit
# The longest, and worth watching: not captured.
if tests; then
    echo "ok      tests and coverage"
else
    echo "FAILED  tests and coverage"
    failed="$failed tests"
fi
[ ! -f "$work/skipped" ] || cat "$work/skipped"
if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
