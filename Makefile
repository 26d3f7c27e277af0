# Every job of the project. `make` alone explains; CI calls nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -Eeuo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM ?=
export SYSTEM
# A relative model directory keeps the commands in the documentation short.
MODEL ?= model
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# -- environment ------------------------------------------------------------------------------

$(BIN)/uv: requirements/uv.txt scripts/make_venv.sh
	@SYSTEM=$(SYSTEM) scripts/make_venv.sh $(PYTHON) $(VENV)

$(VENV)/.run: $(BIN)/uv requirements/training.txt pyproject.toml
	@echo "==> installing the service and the training side"
	@uv pip install --quiet --require-hashes --requirements requirements/training.txt
	@uv pip install --quiet --no-deps --editable .
	@touch $@

# What a server needs that releases, or makes versions outside a container.
$(VENV)/.deployment: $(VENV)/.run requirements/deployment.txt
	@echo "==> installing what makes and releases versions"
	@uv pip install --quiet --require-hashes --requirements requirements/deployment.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "==> installing the developer's tools"
	@uv pip install --quiet --require-hashes --requirements requirements/dev.txt
	@touch $@

.PHONY: environment
environment: $(VENV)/.dev ## Install everything a developer needs into .venv

.PHONY: lock
lock: $(BIN)/uv ## Resolve the dependencies anew and write requirements/*.txt
	@scripts/lock.sh

# -- the main job -----------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.run $(MODEL) ## Train on the bundled sample (once) and serve on port 8082
	@marquee verify $(MODEL) >&2
	@echo "==> serving; try: curl localhost:8082/recommend/42    (Ctrl-C stops)"
	@MARQUEE_MODEL_DIR=$(MODEL) exec marquee serve --ship

$(MODEL): | $(VENV)/.run
	@echo "==> training on data/sample"
	@marquee train --ratings data/sample/ratings.parquet --watches data/sample/watches.parquet \
	    --out $(MODEL)

# -- checks -----------------------------------------------------------------------------------

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types, who imports whom, and the shell scripts
	@ruff check
	@ruff format --check
	@mypy
	@lint-imports --no-cache
	@scripts/lint_shell.sh

.PHONY: test
test: ## Every suite, containers too where Docker answers; SYSTEM=1 first installs what they lack
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh python shell docker images; fi
	@$(MAKE) $(VENV)/.dev
	@$(MAKE) lint
	@scripts/run_shell_tests.sh
	@if docker info >/dev/null 2>&1; then $(MAKE) images; fi
	@pytest

# The pipeline's jobs: parts of `make test`, with the reports that GitLab shows.
REPORTS = --junitxml=build/junit-$@.xml --cov --cov-report=term --cov-report=xml:build/coverage-$@.xml
IN_PIPELINE = @if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh python shell; fi; \
	$(MAKE) $(VENV)/.dev

.PHONY: test-data
test-data: ## What reads and keeps data (a job of the pipeline)
	$(IN_PIPELINE)
	@pytest $(REPORTS) tests/unit/ingest tests/unit/simulator tests/integration/ingest

.PHONY: test-model
test-model: ## What makes and checks models (a job of the pipeline)
	$(IN_PIPELINE)
	@pytest $(REPORTS) tests/unit/model tests/unit/training tests/integration/training

.PHONY: test-app
test-app: ## The service, releases, style and types (a job of the pipeline)
	$(IN_PIPELINE)
	@$(MAKE) lint
	@scripts/run_shell_tests.sh
	@pytest $(REPORTS) tests/unit tests/integration --ignore=tests/unit/ingest \
	    --ignore=tests/unit/simulator --ignore=tests/integration/ingest --ignore=tests/unit/model \
	    --ignore=tests/unit/training --ignore=tests/integration/training

.PHONY: deploy
deploy: ## Start the release of this commit on the server (a job of the pipeline)
	@scripts/deploy_over_ssh.sh

.PHONY: soak
soak: $(VENV)/.dev images ## The container suite, and what is killed, at full durations and with every case
	@MARQUEE_SOAK_SECONDS=180 pytest tests/e2e tests/integration/auto_deployment \
	    tests/integration/ingest/kafka

.PHONY: images
images: ## Build stand-in images where no registry can be reached
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh docker images; fi
	@tests/images/build.sh

.PHONY: demo
demo: ## Show the whole life of the system in containers, in under ten minutes
	@scripts/demo.sh

.PHONY: demo-down
demo-down: ## Remove all that the demo left
	@scripts/demo.sh down

.PHONY: bench
bench: $(VENV)/.dev ## Measure: events, training, requests
	@python -m bench

.PHONY: docs
docs: $(VENV)/.dev ## Write the reference pages and .env.example anew
	@python -m app.docs_generator
