#!/bin/sh
# ruff (rules and format) over everything, then the import contracts. Runs them all, then says whether one failed.
set -u
cd "$(dirname "$0")/.."
status=0
.venv/bin/ruff check --quiet . || status=1
.venv/bin/ruff format --quiet --diff . || status=1
contracts=$(.venv/bin/lint-imports --no-cache 2>&1) || {
    status=1
    printf '%s\n' "$contracts"
}
[ $status -eq 0 ] && echo "lint: ruff and the import contracts are content"
exit $status
