#!/bin/sh
# mypy, strict, over the folders that pyproject.toml names.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/mypy --no-error-summary
