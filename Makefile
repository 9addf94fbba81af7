# Everything runs in .venv, made from the package registry; nothing needs root.
PYTHON ?= python3
BIN := .venv/bin
MODEL ?= replay:$(CURDIR)/examples/replies.jsonl
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-heavy check format lint types floors prism wheel specs lexicon clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.venv/made:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/runtime: .venv/made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(BIN)/python -m compileall -q tools  # else every sandbox would compile them at its start
	@touch $@

.venv/development: .venv/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/runtime ## Resolve an issue of a sample project; MODEL=opus asks a real model
	@sh examples/demo.sh "$(CURDIR)" "$(MODEL)"

test: .venv/development ## Run all tests but the long ones
	$(PYTEST) -n 2 --dist loadgroup -m "not live and not heavy"

test-heavy: .venv/development ## Run the long tests
	$(PYTEST) -m "heavy and not live"

check: format lint types floors ## Everything that is checked without running

format: .venv/development
	$(BIN)/ruff format --check .

lint: .venv/development
	$(BIN)/ruff check .

types: .venv/development
	$(BIN)/mypy
	$(BIN)/mypy tests

floors: .venv/development
	$(PYTEST) -q tests/test_floors.py

prism: ## Install what checks our requests against what services publish into .prism (npm, 500 MB)
	npm install --prefix .prism --no-audit --no-fund --silent @octokit/openapi@23.0.2 @stoplight/prism-cli@5.16.0 \
		@octokit/graphql-schema@15.26.1 @linear/sdk@98.0.0 graphql@16.15.0

wheel: .venv/development ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

specs: .venv/runtime ## Write anew what models are told of the tools
	$(BIN)/python -c 'import json; from orchestrator import arguments; print(json.dumps(arguments.described(), indent=1))' > .specs
	mv .specs tools/orchestrator_tools/specs.json

lexicon: .venv/runtime ## Write the router's lexicon anew from orchestrator/routing/trades.yaml
	$(BIN)/python -c 'import json, yaml; from orchestrator.routing import trades; print(json.dumps(trades.compiled(yaml.safe_load(open("orchestrator/routing/trades.yaml"))), separators=(",", ":")))' > .lexicon
	mv .lexicon orchestrator/routing/trades.json

clean: ## Remove what was made
	rm -rf .venv demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
