# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More processes than cores: much of the time the tests wait. A file is run by one of them.
PARALLEL := --numprocesses=4 --dist=loadfile --no-loadscope-reorder
NPM := $(shell command -v npm 2>/dev/null)
# Containers often say so; each of a hundred processes would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup graphiql tools run test test-fast test-oldest coverage clients gateway evals check format lock bench bench-screens bench-scale bench-scores bench-tasks bench-plans faults attacks clean clean-data

help: ## What there is to make
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed graphiql ## A virtual environment with everything in it, and GraphiQL's files

$(VENV)/.installed: requirements.lock pyproject.toml
	@test ! -L $(VENV) || { echo "$(VENV) is a link to another checkout's: installing would point that at this one. Remove the link, and this checkout gets its own."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@.ci/install_packages $(VENV)
	@touch $@

graphiql: crm/web/graphiql/dist/.built ## The GraphiQL page (needs Node.js; without it the API works all the same)

crm/web/graphiql/dist/.built: crm/web/graphiql/package-lock.json crm/web/graphiql/build.mjs $(wildcard crm/web/graphiql/src/*)
ifdef NPM
	@echo "Fetching and building the GraphiQL page with npm: usually half a minute, once."
	cd crm/web/graphiql && npm ci --silent --no-audit --no-fund && node build.mjs
	@touch $@
else
	@echo "Node.js is not installed: the API works, the GraphiQL page does not. Install Node.js 20+ and run: make graphiql"
endif

tools: ## Debian packages that tests need: PostgreSQL 15, PgBouncer, Chromium
	@tests/install_tools.sh

run: setup ## The API on this machine with demo data, on a PostgreSQL of its own
	$(BIN)/crm dev $(if $(PORT),--port $(PORT))

test: setup tools ## All tests, on a throw-away PostgreSQL; or some: make test T=tests/sales/leads
	$(BIN)/python -W ignore -m pytest --durations=20 $(if $(T),$(T),$(PARALLEL))

test-fast: setup ## The tests for daily work: no fault rounds, no browser, no Node.js
	CRM_TEST_WITHOUT_TOOLS=1 $(BIN)/python -W ignore -m pytest $(if $(T),$(T),$(PARALLEL) $(foreach folder,faults attacks clients web/audits web/console web/graphiql,--ignore=tests/$(folder)))

test-oldest: setup tools ## The same on PostgreSQL 15 (Debian's binaries)
	CRM_TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin $(BIN)/python -W ignore -m pytest $(PARALLEL)

coverage: setup tools ## All tests once more, and the lines and branches of crm/ that none of them reaches
	rm -rf .coverage && mkdir .coverage
	COVERAGE_CORE=ctrace $(BIN)/python -W ignore -m coverage run -m pytest $(if $(T),$(T),$(PARALLEL)) || true
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

clients: setup tests/clients/python/.venv/.installed tests/clients/ariadne/.venv/.installed ## Programs of more clients, and what breaks those of the last release
	CRM_TEST_CLIENTS="tanstack python ariadne" $(BIN)/python -W ignore -m pytest tests/clients/test_programs.py tests/clients/released/compare.py

tests/clients/%/.venv/.installed: tests/clients/%/requirements.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

gateway: setup ## The API as a subgraph, behind a gateway of Apollo Federation (its packages take half a gigabyte)
	$(BIN)/python -W ignore -m pytest tests/clients/federation/gateway.py

evals: setup ## How good the suggestions are: the playbook beside random templates (and a live model if a key is set)
	$(BIN)/python -W ignore -m tests.ai.evals

check: setup ## Format, lint, types, import contracts, schema.graphql up to date, the Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/crm schema | diff - schema.graphql
	$(BIN)/hadolint Dockerfile

format: setup ## Format the code and write schema.graphql
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/crm schema > schema.graphql.new && mv schema.graphql.new schema.graphql

lock: ## Resolve the dependencies anew into requirements.lock (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra dev --python-version 3.11 --output-file requirements.lock pyproject.toml

bench: setup ## Requests a second of the usual operations
	$(BIN)/python -m tests.bench.rates

bench-screens: setup ## The screens of docs/guides/screens.md at 10,000 demo leads: p50 and p95
	$(BIN)/python -m tests.bench.screens

bench-scale: setup ## 1,000,000 leads: p50, p95 and plans
	$(BIN)/python -m tests.bench.scale

bench-scores: setup ## 100,000 scores recalculated, with readers and writers alongside
	$(BIN)/python -m tests.bench.scores

bench-plans: setup ## How long operations take to compile that nobody asked for before, hostile ones among them
	$(BIN)/python -W ignore -m tests.bench.plans

bench-tasks: setup ## AI tasks: calls with 1,000 queued, order, latency of events, tasks a second
	$(BIN)/python -m tests.bench.tasks

faults: setup tools ## The long form of the fault rounds
	CRM_FAULT_ROUNDS=20 $(BIN)/python -W ignore -m pytest --capture=no tests/faults

attacks: setup ## Half an hour of searching for requests that cost too much, per size of request
	$(BIN)/python -W ignore -m tests.attacks.search --minutes $(or $(MINUTES),30) --seed $(or $(SEED),1)

clean: ## Remove everything that was made, but for the development database
	rm -rf $(VENV) tests/clients/*/.venv tests/clients/ariadne/crm_api crm/web/graphiql/dist crm/web/graphiql/node_modules tests/clients/node_modules tests/clients/federation/node_modules tests/clients/*/out tests/clients/*/src/gql tests/clients/*/src/__generated__ tests/web/audits/node_modules tests/web/browser/node_modules tests/web/rest/node_modules

clean-data: ## Remove the development database
	rm -rf .data
