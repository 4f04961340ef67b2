#!/bin/sh
# Makes .venv and installs the locked packages into it: `deploy/bootstrap.sh runtime`, `dev` or `bench`.
# Run again, it only compares two hashes. `SERVERS=1` installs missing server programs meanwhile (deploy/local/programs.py).
set -eu
cd "$(dirname "$0")/.."
kind=${1:-runtime}
case $kind in runtime | dev | bench) ;; *) echo "usage: deploy/bootstrap.sh runtime|dev|bench" >&2; exit 2 ;; esac

die() { echo "tiercel: $*" >&2; exit 1; }

# What was installed, and where: a moved clone or a changed lock installs again.
wanted() {
    { pwd; cat setup.cfg pyproject.toml requirements/build.lock "requirements/$1.lock"; } | cksum
}
is_installed() {
    [ -f ".venv/tiercel-$1" ] && [ "$(cat ".venv/tiercel-$1")" = "$(wanted "$1")" ] && [ -x .venv/bin/python ]
}
# bench holds all of dev, and dev all of runtime.
is_enough() {
    is_installed "$kind" || case $kind in
        runtime) is_installed dev || is_installed bench ;;
        dev) is_installed bench ;;
        bench) false ;;
    esac
}
if is_enough; then exit 0; fi

mkdir -p .tiercel
# Two first runs at once take turns, where the system can do that.
if command -v flock >/dev/null 2>&1; then
    exec 9>.tiercel/bootstrap.lock
    flock 9
    if is_enough; then exit 0; fi
fi

# Every python in PATH is tried by running it: pyenv's shims exist for versions that aren't there.
is_new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" -c "$is_new_enough" 2>/dev/null && echo "$PYTHON" && return
        die "PYTHON=$PYTHON isn't a Python 3.11 or newer"
    fi
    for name in python3.13 python3.12 python3.11 python3; do
        # The system's own before another of its version: distributions build theirs with profile-guided optimisation,
        # pyenv only where it is told to, and everything takes a sixth longer then.
        if "/usr/bin/$name" -c "import ensurepip, venv; $is_new_enough" 2>/dev/null; then
            echo "/usr/bin/$name"
            return
        fi
        old_ifs=$IFS
        IFS=:
        for folder in $PATH:/usr/local/bin:/usr/bin; do
            IFS=$old_ifs
            if [ -x "$folder/$name" ] && "$folder/$name" -c "$is_new_enough" 2>/dev/null; then
                echo "$folder/$name"
                return
            fi
        done
        IFS=$old_ifs
    done
    die "no Python 3.11 or newer found. On Debian or Ubuntu: sudo apt-get install python3 python3-venv; or set PYTHON=/path/to/python3"
}
python=$(find_python)

# Debian keeps ensurepip, which venv needs, in a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing     python$version-venv (apt-get)"
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq install -y --no-install-recommends "python$version-venv" >/dev/null 2>&1 ||
            { apt-get -qq update && apt-get -qq install -y --no-install-recommends "python$version-venv" >/dev/null; } ||
            die "apt-get install python$version-venv failed"
    else
        die "$python has no venv module. On Debian or Ubuntu: sudo apt-get install python$version-venv"
    fi
fi

servers=
if [ "${SERVERS:-}" = 1 ]; then
    "$python" -m deploy.local.programs 9>&- &
    servers=$!
fi

# A virtual environment whose Python is gone, or that was made elsewhere, is made again.
if ! .venv/bin/python -c "$is_new_enough" 2>/dev/null || ! grep -qs "$(pwd)/.venv" .venv/bin/activate; then
    echo "python         $("$python" --version 2>&1) from $python, into .venv"
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "packages       requirements/$kind.lock (first time, or changed: this takes a moment)"
pip() {
    .venv/bin/python -m pip --disable-pip-version-check --quiet --no-input "$@"
}
log=.tiercel/pip.log
if ! { pip install --require-hashes -r requirements/build.lock -r "requirements/$kind.lock" &&
    pip install --no-deps --no-build-isolation --editable .; } >"$log" 2>&1; then
    cat "$log" >&2
    die "pip couldn't install the packages (above)"
fi
if [ -n "$servers" ]; then wait "$servers" || exit 1; fi
wanted "$kind" >".venv/tiercel-$kind"
