#!/bin/sh
# Makes .venv ready: `scripts/setup.sh run` for Doorward itself, `scripts/setup.sh dev` for the tests as well.
# Finds a Python >= 3.12 by itself (PYTHON=/path/to/python3 chooses one), installs the locked requirements
# with their hashes checked, then this checkout, editable. Does nothing when nothing has changed.
set -eu
cd "$(dirname "$0")/.."

mode=${1:-run}
case $mode in
run) locks="requirements/run.txt requirements/build.txt" ;;
dev) locks="requirements/dev.txt" ;; # holds all of the other two
*)
    echo "usage: scripts/setup.sh [run|dev]" >&2
    exit 2
    ;;
esac

venv=.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf 'setup: %s\n' "$*" >&2; }

# A version manager's shim stands on PATH also for versions that it will not run: so each is tried.
is_suitable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

candidates() {
    # 3.13 and 3.12 are the versions the tests run on; a newer one serves where these are missing.
    for version in 3.13 3.12 3.14; do
        echo "python$version"
        for found in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version"*/bin/python3; do
            echo "$found"
        done
    done
    echo python3
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_suitable "$PYTHON" && echo "$PYTHON" && return
        say "PYTHON=$PYTHON does not run, is older than 3.12, or has no venv and ensurepip modules."
        return 1
    fi
    candidates | while IFS= read -r candidate; do
        if is_suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done | grep . && return
    if command -v uv >/dev/null 2>&1; then
        say "no Python >= 3.12 here: uv installs 3.12"
        uv python install --quiet 3.12 && uv python find 3.12 && return
    fi
    say "Doorward needs Python 3.12 or newer with its venv module, and found none on PATH or under pyenv."
    say "Mend: 'apt-get install python3 python3-venv' (Debian 13, Ubuntu 24.04), 'brew install python@3.13',"
    say "      'pyenv install 3.13', or put uv on PATH. Then run this again, or name one: PYTHON=/path/to/python3"
    return 1
}

# What a stamp says: what was installed, for which place (a virtual environment can't be moved).
checksum() { printf '%s %s\n' "$PWD" "$(cat "$@" | cksum)"; }
is_current() { [ -f "$venv/$1" ] && [ "$(cat "$venv/$1")" = "$2" ]; }

lock_sum=$(checksum requirements/run.txt requirements/build.txt requirements/dev.txt)
project_sum=$(checksum pyproject.toml)

if ! { [ -x $venv/bin/python ] && $venv/bin/python -c '' 2>/dev/null && [ "$(cat $venv/.place 2>/dev/null)" = "$PWD" ]; }; then
    python=$(find_python)
    say "making $venv with $("$python" --version 2>&1) ($python)"
    rm -rf $venv
    "$python" -m venv $venv
    pwd >$venv/.place
fi

if ! is_current .stamp-dev "$lock_sum" && ! is_current ".stamp-$mode" "$lock_sum"; then
    say "installing $locks (a minute or two the first time)"
    rm -f $venv/.stamp-run $venv/.stamp-dev
    for lock in $locks; do
        $venv/bin/python -m pip install --quiet --require-hashes --requirement "$lock"
    done
    echo "$lock_sum" >"$venv/.stamp-$mode"
fi

if ! is_current .stamp-project "$project_sum"; then
    $venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
    echo "$project_sum" >$venv/.stamp-project
fi
