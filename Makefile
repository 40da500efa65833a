# Basis. Each target sets up all it needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
UV_VERSION := 0.9.0
TOOLS := .tools
UV := $(TOOLS)/bin/uv
READY := .venv/.basis-ready
ML := .venv/.basis-ml
BASIS := .venv/bin/basis
MODE ?= pure_lending_usdt
ARGS ?=

.PHONY: help setup backtest dashboard live test chain contracts test-fast lint format bench golden up down reference docs clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# A Python without the venv module (Debian without python3-venv) gets uv into a plain folder instead.
$(UV):
	@command -v python3 >/dev/null || { echo "make: python3 is missing: install Python 3.11 or newer" >&2; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$(python3 -V) is too old: 3.11 or newer is needed" >&2; exit 1; }
	@rm -rf $(TOOLS) && mkdir -p $(TOOLS)
	@if python3 -m venv $(TOOLS) >/dev/null 2>&1; then $(TOOLS)/bin/python -m pip install -q --disable-pip-version-check "uv>=$(UV_VERSION)"; \
	else rm -rf $(TOOLS); python3 -m pip install -q --disable-pip-version-check --target $(TOOLS) "uv>=$(UV_VERSION)"; fi

$(READY): $(UV) uv.lock pyproject.toml $(wildcard */*/pyproject.toml)
	@$(UV) sync --quiet --frozen --all-packages --compile-bytecode --python "$$(python3 -c 'import sys; print(sys.executable)')"
	@.venv/bin/python -m compileall -q services shared packages
	@touch $(READY)

# The example model needs scikit-learn, an optional extra; its test runs it.
$(ML): $(READY)
	@$(UV) sync --quiet --frozen --inexact --all-packages --extra ml
	@touch $(ML)

setup: $(READY) ## install everything into .venv

backtest: $(READY) ## run a backtest and print where to see it: MODE=pure_lending_usdt ARGS="--start 2022-06-01"
	@$(BASIS) backtest $(MODE) --dashboard $(ARGS)

dashboard: $(READY) ## all runs of logs/ in the browser, until Ctrl-C
	@$(BASIS) dashboard $(ARGS)

live: chain ## all ten strategies live, 200 ticks each, against local exchanges and a local chain: ARGS="btc_basis --ticks 50"
	@.venv/bin/python tools/live.py $(ARGS)

# A file's tests share fixtures (containers, chain, browser): one worker has them all. A worker that dies is not replaced: the run would
# wait for its tests for ever.
test: $(ML) chain ## run all tests; containers where a Docker engine is there
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0 $(ARGS)

chain: $(READY) ## install the test chain (anvil, Aave v3.3, Uniswap v3) from npm and PyPI; without npm its tests are skipped
	@.venv/bin/python -m basis.testkit.chain.install

contracts: $(READY) ## compile our own contracts; ARGS=--check compares
	@.venv/bin/python tools/compile_contracts.py $(ARGS)

test-fast: $(READY) ## unit tests only
	@.venv/bin/python -m pytest tests/unit -n 2 -q $(ARGS)

lint: $(READY) ## ruff, mypy --strict, import-linter, drift of generated files
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy services/*/src shared/*/src packages/*/src tests bench tools
	@.venv/bin/lint-imports
	@.venv/bin/python tools/generate_reference.py --check
	@.venv/bin/python tools/generate_specs.py --check
	@.venv/bin/python tools/compile_contracts.py --check

format: $(READY) ## let ruff format and mend
	@.venv/bin/ruff check --fix -q . ; .venv/bin/ruff format .

bench: $(READY) ## measure speed; writes nothing but its own output
	@.venv/bin/python bench/run.py $(ARGS)

golden: $(READY) ## compare golden runs; ARGS=--record re-records them
	@.venv/bin/python tools/golden.py $(ARGS)

reference: $(READY) ## regenerate docs/reference and docs/specs from the code
	@.venv/bin/python tools/generate_reference.py
	@.venv/bin/python tools/generate_specs.py

docs: $(READY) ## build the documentation as a site into site/
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet
	@echo "docs: site/index.html"

data/synthetic: $(READY)
	@$(BASIS) data sample data/synthetic

up: data/synthetic ## the six services and NATS as containers, HTTP on http://localhost:8001
	@command -v docker >/dev/null && docker info >/dev/null 2>&1 || { echo "make up: no Docker engine answers: start it, or use '$(BASIS) services up'" >&2; exit 1; }
	@mkdir -p logs
	@deploy/nats-passwords.sh
	@export BASIS_UID=$$(id -u) BASIS_GID=$$(id -g) PYTHON_IMAGE=$$(deploy/python-image.sh 2>/dev/null || echo python:3.11-slim); \
	docker compose build -q && docker compose up -d --wait
	@echo "up: dashboard http://localhost:8001/ , API http://localhost:8001/api/v1/docs ; 'make down' ends it"

down: ## stop the containers, and a dashboard in the background; logs stay
	@if [ -x $(BASIS) ]; then $(BASIS) dashboard --stop; fi
	@if command -v docker >/dev/null && docker info >/dev/null 2>&1; then deploy/nats-passwords.sh; docker compose down --remove-orphans; fi

clean: ## remove what make and tests made, but not logs
	@if [ -x $(BASIS) ]; then $(BASIS) dashboard --stop >/dev/null || true; fi
	@rm -rf .venv $(TOOLS) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov site test-artifacts
