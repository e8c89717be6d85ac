#!/bin/sh
# Lint and types side by side, then pytest (its options may be given). Everything is run, whatever fails;
# pytest's closing line comes last. The status is that of the whole.
set -u
cd "$(dirname "$0")/.."

types_log=$(mktemp)
trap 'rm -f "$types_log"' EXIT
failed=

scripts/types.sh >"$types_log" 2>&1 &
types=$!
scripts/lint.sh || failed="$failed lint"
if wait $types; then
    echo "types: mypy (strict) is content"
else
    cat "$types_log"
    failed="$failed types"
fi
[ -z "$failed" ] || echo "FAILED:$failed (above); the tests follow all the same"

# A file of tests is one worker's, so that what its tests share is started once.
.venv/bin/python -m pytest -n 2 --dist loadfile "$@" || failed="$failed tests"

[ -z "$failed" ] && exit 0
echo "FAILED:$failed" >&2
exit 1
