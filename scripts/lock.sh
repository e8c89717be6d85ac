#!/bin/sh
# Writes requirements/*.txt anew from pyproject.toml: every package with its version and hashes, for all
# platforms and Python >= 3.12, and no index URL. Needs uv; nobody but a maintainer has to run it.
# `scripts/lock.sh --upgrade` takes the newest versions; without it only what pyproject.toml asks for changes.
set -eu
cd "$(dirname "$0")/.."

compile() { # compile OUTPUT [uv options]
    output=$1
    shift
    uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "scripts/lock.sh" --output-file "$output" "$@"
}

# dev.txt is solved first, with everything in it; the others take its versions.
compile requirements/dev.txt --group dev --extra envoy pyproject.toml "$@"
compile requirements/run.txt --constraints requirements/dev.txt pyproject.toml
compile requirements/build.txt --constraints requirements/dev.txt --group build
compile requirements/ingress.txt --group ingress
