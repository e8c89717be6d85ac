.POSIX:
.PHONY: help setup parts demo test check lint types bench docs clean

# PORT is the demo's only setting: `make demo PORT=9000`. Without it the command chooses.
PORT =
BIN = .venv/bin
SETUP_RUN = @scripts/setup.sh run
SETUP_DEV = @scripts/setup.sh dev

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv ready for development (finds a Python >= 3.12 by itself)
	$(SETUP_DEV)

parts: ## install, or name, the real programs that the tests use (nginx, Chromium, ...)
	@scripts/parts.sh

demo: ## run Doorward with its own provider and a small application (PORT=... chooses the port)
	$(SETUP_RUN)
	@exec $(BIN)/doorward demo $${PORT:+--port "$$PORT"}

test: ## run everything: lint, types and all tests, browser and slow ones too
	$(SETUP_DEV)
	@scripts/parts.sh
	@scripts/test.sh

check: ## run what takes a minute: lint, types and the fast tests
	$(SETUP_DEV)
	@scripts/test.sh -m "not slow and not browser"

lint: ## ruff, its formatter and the import contracts
	$(SETUP_DEV)
	@scripts/lint.sh

types: ## mypy, strict
	$(SETUP_DEV)
	@scripts/types.sh

bench: ## measure beside bare nginx; writes bench/RESULTS.md
	$(SETUP_DEV)
	@scripts/parts.sh
	@$(BIN)/python -m bench

docs: ## write the pages made from the source anew
	$(SETUP_DEV)
	@$(BIN)/python scripts/standards.py
	@$(BIN)/python -m sidecar.config.reference
	@$(BIN)/doorward schema >config/doorward.schema.json

clean: ## remove what set-up and the tools made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov build dist test-results
	rm -rf tests/interop/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
