# All tasks of the project; `make` lists them. CI runs these targets only.
SHELL := /bin/bash
.SHELLFLAGS := -Eeuo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM ?=
export SYSTEM
# Directory of the model that `make run` trains and serves.
MODEL ?= model
export PATH := $(abspath $(BIN)):$(PATH)
# Where uv installs: never into an environment that the caller has activated.
export VIRTUAL_ENV := $(abspath $(VENV))

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

# -- environment ------------------------------------------------------------------------------

$(BIN)/uv: requirements/uv.txt scripts/make_venv.sh
	@SYSTEM=$(SYSTEM) scripts/make_venv.sh $(PYTHON) $(VENV)

$(VENV)/.run: $(BIN)/uv requirements/training.txt pyproject.toml
	@echo "==> installing the requirements of service and training"
	@uv pip install --quiet --require-hashes --requirements requirements/training.txt
	@uv pip install --quiet --no-deps --editable .
	@touch $@

# Requirements of a server that runs releases, or retrains without containers.
$(VENV)/.deployment: $(VENV)/.run requirements/deployment.txt
	@echo "==> installing the requirements of retraining and releases"
	@uv pip install --quiet --require-hashes --requirements requirements/deployment.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "==> installing the development tools"
	@uv pip install --quiet --require-hashes --requirements requirements/dev.txt
	@# The tests start many processes, which would compile the packages again and again where
	@# PYTHONDONTWRITEBYTECODE is set. Some packages contain templates that cannot be compiled.
	@python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $@

.PHONY: environment
environment: $(VENV)/.dev ## Create .venv with all requirements and development tools

# pyspark, beside the requirements of training or of development.
$(VENV)/.spark: $(VENV)/.run requirements/spark.txt
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh spark; fi
	@echo "==> installing pyspark"
	@uv pip install --quiet --require-hashes --requirements requirements/spark.txt
	@touch $@

.PHONY: spark
spark: $(VENV)/.spark ## Add pyspark to .venv, for training on Apache Spark; SYSTEM=1 also installs Java

.PHONY: lock
lock: $(BIN)/uv ## Update the pinned requirements in requirements/*.txt
	@scripts/lock.sh

# -- service ----------------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.run $(MODEL) ## Train on data/sample (the first time) and serve on port 8082 of this machine only
	@marquee verify $(MODEL) >&2
	@echo "==> serving; try: curl localhost:8082/recommend/42    (Ctrl-C to stop)"
	@# No NGINX stands in front of it: other machines reach it only where MARQUEE_BIND is set.
	@[[ -v MARQUEE_BIND || -v MARQUEE_BIND_FILE ]] || export MARQUEE_BIND=127.0.0.1:8082; \
	    MARQUEE_MODEL_DIR=$(MODEL) exec marquee serve --ship

$(MODEL): | $(VENV)/.run
	@echo "==> training on data/sample"
	@marquee train --ratings data/sample/ratings.parquet --watches data/sample/watches.parquet \
	    --out $(MODEL)

# -- checks -----------------------------------------------------------------------------------

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types, imports between packages, shell scripts, Dockerfile
	@$(MAKE) --jobs=2 --output-sync --keep-going lint-types lint-others

# Two jobs of about the same time.
.PHONY: lint-types lint-others
lint-types:
	@mypy
lint-others:
	@ruff check
	@ruff format --check
	@lint-imports --no-cache
	@scripts/lint_shell.sh

.PHONY: test
test: ## Run all tests and print the time of each part; SYSTEM=1 installs missing packages
	@scripts/run_tests.sh

.PHONY: setup
setup:
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh python shell ssh docker images; fi
	@$(MAKE) --silent $(VENV)/.dev

.PHONY: test-shell
test-shell: ## Run the tests of the shell scripts
	@scripts/run_shell_tests.sh

# Integration tests with Kafka and MariaDB in containers.
SERVER_TESTS = tests/integration/ingest/kafka tests/integration/provenance

.PHONY: test-python
test-python: $(VENV)/.dev ## Run the unit and integration tests, except for those with servers in containers
	@pytest tests/unit tests/integration $(SERVER_TESTS:%=--ignore=%)

.PHONY: test-containers
test-containers: setup ## Run the tests of the stack, its images and servers, if Docker is running
	@if docker info >/dev/null 2>&1; then $(MAKE) images; fi
	@pytest $(SERVER_TESTS) tests/images tests/e2e

.PHONY: test-spark
test-spark: $(VENV)/.dev spark ## Run the tests of training on Apache Spark, on a cluster of two workers
	@MARQUEE_SOAK_SECONDS=180 pytest tests/integration/spark/test_spark.py

# Jobs of the CI pipeline: parts of `make test`, with reports for GitLab.
REPORTS = --junitxml=build/junit-$@.xml --cov --cov-report=term --cov-report=xml:build/coverage-$@.xml
CI_SETUP = @if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh python shell ssh; fi; \
	$(MAKE) $(VENV)/.dev

.PHONY: test-data
test-data: ## CI job: tests of ingest and simulator
	$(CI_SETUP)
	@pytest $(REPORTS) tests/unit/ingest tests/unit/simulator tests/integration/ingest

.PHONY: test-model
test-model: ## CI job: tests of model and training
	$(CI_SETUP)
	@pytest $(REPORTS) tests/unit/model tests/unit/training tests/integration/training

.PHONY: test-app
test-app: ## CI job: lint and all other tests without containers
	$(CI_SETUP)
	@$(MAKE) lint
	@$(MAKE) test-shell
	@$(MAKE) test-chart
	@pytest $(REPORTS) tests/unit tests/integration --ignore=tests/unit/ingest \
	    --ignore=tests/unit/simulator --ignore=tests/integration/ingest --ignore=tests/unit/model \
	    --ignore=tests/unit/training --ignore=tests/integration/training

# The chart, without a cluster: helm as a Python package, in an environment of its own because of its size.
.PHONY: test-chart
test-chart: build/kubernetes-venv/.done ## Lint, render and validate the Helm chart
	@build/kubernetes-venv/bin/python -m pytest -q -c /dev/null --noconftest -p no:cacheprovider tests/kubernetes/test_chart.py

# pip-audit and MkDocs have environments of their own: their packages are none of the project's.
build/%-venv/.done: requirements/%.txt $(BIN)/uv
	@uv venv --quiet --allow-existing $(@D)
	@uv pip install --quiet --python $(@D)/bin/python --require-hashes --requirements $<
	@touch $@

.PHONY: audit
audit: build/audit-venv/.done ## Check the Python packages for known vulnerabilities; write build/audit/*.cdx.json
	@PATH=$(abspath build/audit-venv)/bin:$$PATH scripts/audit.sh

.PHONY: deploy
deploy: ## CI job: start the release of this commit on the server, or in a cluster (RELEASE_PLATFORM=kubernetes)
	@if [[ "$${RELEASE_PLATFORM:-compose}" == kubernetes ]]; then \
	    mkdir -p build; \
	    scripts/push_images.sh "$${IMAGE_REPOSITORY:?}" >build/images.yaml; \
	    scripts/deploy.sh build/images.yaml; \
	else scripts/deploy_over_ssh.sh; fi

# What the part `browser` of the soak tests needs besides Debian's Chromium.
AXE := axe-core-4.14.1
AXE_SHA256 := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
build/axe.min.js:
	@mkdir -p build
	@cd build && npm pack --silent $(AXE:axe-core-%=axe-core@%) >/dev/null
	@echo "$(AXE_SHA256)  build/$(AXE).tgz" | sha256sum --quiet --check
	@tar -xzf build/$(AXE).tgz -C build --strip-components=1 --touch package/axe.min.js

$(VENV)/.browser: $(VENV)/.dev requirements/browser.txt
	@uv pip install --quiet --require-hashes --requirements requirements/browser.txt
	@touch $@

.PHONY: browser
browser: $(VENV)/.dev
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh browser; fi
	@$(MAKE) build/axe.min.js $(VENV)/.browser

.PHONY: soak
soak: setup ## Run long tests: all parts, or PART=<name>; PART=list lists them
	@if [[ ! "$(PART)" =~ ^(list|summary)$$ ]] && docker info >/dev/null 2>&1; then $(MAKE) images; fi
	@if [[ "$(PART)" =~ ^(browser)?$$ ]]; then $(MAKE) browser; fi
	@if [[ "$(PART)" =~ ^(spark)?$$ ]]; then $(MAKE) spark; fi
	@python -m tests.support.soak $(PART)

# A run that ended early continues where it was: seeds that have a result are not run again.
.PHONY: campaign
campaign: setup ## Run schedules of faults: SEEDS=1-10 MINUTES=5; FRESH=1 again, KEEP=0,3 only these faults
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh campaign; fi
	@if docker info >/dev/null 2>&1; then $(MAKE) images; fi
	@MARQUEE_CAMPAIGN_SEEDS="$(or $(SEEDS),1-10)" MARQUEE_CAMPAIGN_MINUTES="$(or $(MINUTES),5)" \
	    MARQUEE_CAMPAIGN_FRESH="$(FRESH)" MARQUEE_CAMPAIGN_KEEP="$(KEEP)" \
	    pytest -s tests/e2e/test_campaign.py || failed=1; \
	    python -m tests.support.campaign.report && exit "$${failed:-0}"

.PHONY: images
images: ## Build the third-party images from Debian packages, if no registry is reachable
	@if [[ "$(SYSTEM)" == 1 ]]; then scripts/install_system.sh docker images; fi
	@tests/images/build.sh

.PHONY: demo
demo: ## Demonstrate the whole lifecycle in containers, in under ten minutes
	@scripts/demo.sh

.PHONY: demo-down
demo-down: ## Remove the demo's containers, volumes, networks, images and files
	@scripts/demo.sh down

.PHONY: bench
bench: $(VENV)/.dev ## Run the benchmarks of ingest, training and requests
	@python -m bench

.PHONY: curves
curves: $(VENV)/.dev ## Simulate how often the verdict of a release is wrong; CELLS=<name part>, RELEASES=<n>
	@python -m bench.operating_curves $(if $(CELLS),--cells "$(CELLS)") \
	    $(if $(RELEASES),--releases $(RELEASES))

.PHONY: docs-site
docs-site: build/docs-venv/.done ## Build the documentation site in build/site; fails at a broken link
	@NO_MKDOCS_2_WARNING=1 build/docs-venv/bin/mkdocs build --quiet --strict

.PHONY: docs
docs: $(VENV)/.dev ## Generate the reference pages and .env.example
	@python -m app.docs_generator
