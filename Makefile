# Every job of the project. `make` alone explains; CI calls nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -Eeuo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM ?=
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

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "==> installing the developer's tools"
	@uv pip install --quiet --require-hashes --requirements requirements/dev.txt
	@touch $@

.PHONY: environment
environment: $(VENV)/.dev ## Install everything a developer needs into .venv

.PHONY: lock
lock: $(BIN)/uv ## Resolve the dependencies anew and write requirements/*.txt
	@scripts/lock.sh
