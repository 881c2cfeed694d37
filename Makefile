# All that a developer, a demo and CI do. `make help` lists it.
# From Debian: python3.11 python3.11-venv openjdk-17-jre-headless maven make. Everything else is fetched and locked.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The distribution's first: it is compiled with profile-guided and link-time optimization, and all of this takes a fifth
# less time with it than with an interpreter that was compiled without (as pyenv does unless it is told).
SYSTEM := /usr/bin
ifndef PYTHON
PYTHON := $(shell for version in 3.11 3.12 3.13; do for python in $(SYSTEM)/python$$version python$$version; do \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null && echo "$$python" && exit; done; done; echo python3)
endif
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-header
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@missing=; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing="$$missing python3.11"; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3.11-venv"; \
	if [ -z "$${KAFKA_BOOTSTRAP_SERVERS:-}" ]; then \
	  command -v "$${JAVA_HOME:+$$JAVA_HOME/bin/}java" >/dev/null || missing="$$missing openjdk-17-jre-headless"; \
	  command -v mvn >/dev/null || missing="$$missing maven"; \
	fi; \
	if [ -n "$$missing" ]; then echo "missing; install the Debian packages:$$missing" >&2; exit 5; fi

$(READY): pyproject.toml requirements-dev.lock | prerequisites
	@echo "setting up $(VENV) from requirements-dev.lock"
	@[ -x $(BIN)/pip ] || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(READY) ## Make the virtual environment, or bring it to what the lock file names

.PHONY: up
up: setup ## Start Kafka, PostgreSQL and the S3 server of this folder
	@$(BIN)/incidents up

.PHONY: down
down: setup ## Stop them and every process of the application
	@$(BIN)/incidents down

.PHONY: run
run: up ## Run all processes of the application in the foreground
	@$(BIN)/incidents migrate
	@$(BIN)/incidents topics
	@exec $(BIN)/incidents run

.PHONY: demo
demo: setup ## Send a storm of real provider payloads and show what comes out (ONCE=1: stop afterwards)
	@exec $(BIN)/incidents demo $(if $(filter 1,$(ONCE)),--once)

.PHONY: demo-itsm
demo-itsm: setup ## Tickets in ServiceNow and Jira: a conflict of each policy is decided live (ONCE=1: stop afterwards)
	@exec $(BIN)/incidents demo --itsm $(if $(filter 1,$(ONCE)),--once)

.PHONY: torture
torture: setup ## Kills, pauses and cuts under load (STEPS=100 SEED=1 BROKERS=1 AT_ONCE=1), then every promise is checked
	@$(BIN)/incidents torture --steps $(or $(STEPS),100) --seed $(or $(SEED),1) --brokers $(or $(BROKERS),1) \
	  --at-once $(or $(AT_ONCE),1) $(ARGS)

.PHONY: sync-proof
sync-proof: setup ## Random interleavings of both sides of a ticket, each checked at rest (N=10000 SEED=1)
	@$(BIN)/python -m tests.sync.prove $(or $(N),10000) $(or $(SEED),1)

.PHONY: bench
bench: setup ## Measure on this machine (ONLY=accept,visible QUICK=1): a table, bench/results/<date>-<time>.md, one JSON line
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(filter 1,$(QUICK)),--quick) $(ARGS)

.PHONY: bench-peers
bench-peers: setup ## The same storm against Alertmanager, Alerta and ours (ONLY=keep,incidents QUICK=1): a table, bench/results/peers.md
	@$(BIN)/python -m bench.peers $(if $(ONLY),--only $(ONLY)) $(if $(filter 1,$(QUICK)),--quick) $(ARGS)

.PHONY: check
check: setup ## Format, lint, types, import directions, catalogue: seconds, no servers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if [ -d tests/catalogue ]; then $(BIN)/pytest tests/catalogue -q; fi

.PHONY: test
test: check ## Everything that CI runs: check, then the tests (ARGS="-k word" for some, FAULTS=1: with whole-stack kills)
	@$(BIN)/pytest -n $(or $(PROCESSES),3) --dist loadfile $(if $(filter 1,$(FAULTS)),,-m "not faults") $(ARGS)

.PHONY: format
format: setup ## Rewrite the code as the formatter and the fixable lints want it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lock
lock: setup ## Make both lock files again from pyproject.toml
	@$(COMPILE) -o requirements.lock pyproject.toml
	@$(COMPILE) --allow-unsafe --extra local --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

.PHONY: clean
clean: down ## Stop everything and delete its data (.incidents)
	@rm -rf .incidents
