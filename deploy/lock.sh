#!/bin/sh
# Writes requirements/*.lock from setup.cfg and pyproject.toml: exact versions and hashes for every Python from 3.11 on
# and every system (markers decide). No index is named in them, so pip takes the one it is set up with.
set -eu
cd "$(dirname "$0")/.."
# uv resolves for all systems at once, which pip can't; it is only needed here.
tools=.tiercel/lock-tools
[ -x "$tools/bin/uv" ] || { .venv/bin/python -m venv "$tools" && "$tools/bin/pip" install --quiet uv; }
compile() {
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"
}
compile --upgrade setup.cfg --output-file requirements/runtime.lock
# dev holds all of runtime, at the same versions: deploy/bootstrap.sh relies on it.
compile --upgrade --constraint requirements/runtime.lock --extra dev setup.cfg --output-file requirements/dev.lock
# bench holds all of dev, in the same way.
compile --upgrade --constraint requirements/dev.lock --extra dev --extra bench setup.cfg \
    --output-file requirements/bench.lock
.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
    compile --upgrade --no-annotate - --output-file requirements/build.lock
