# `make` lists the targets. All that they make stays inside this directory, except pip's cache, Kafka's
# jars (~/.cache/landline) and, while tests run, a directory in memory (/dev/shm).

PYTHON ?= python3
ARGS ?=
# The suite mostly waits for killed servers to come back, so two files run at once.
JOBS ?= 2

BIN := .venv/bin
READY := .venv/.ready-development
READY_SERVER := .venv/.ready-server

.DEFAULT_GOAL := help
.PHONY: help setup run cluster chromium proxies test test-long test-debug test-pythons simulate conformance fuzz controls verify check format bench docs lock vulnerabilities sbom clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

help: ## list these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo 'Options go in ARGS, e.g. make run ARGS="--port 9000"; PYTHON=python3.12 picks another Python.'

setup: $(READY) ## set up what is missing (the other targets do that too)

# When PYTHON names another Python than that of the environment, the environment is made again.
ifneq ($(PYTHON),python3)
ifneq ($(shell . scripts/pythons.sh; is_the_same $(BIN)/python "$$(resolve "$(PYTHON)")" && echo yes),yes)
.PHONY: $(READY) $(READY_SERVER)
endif
endif

# The lock files decide: make compares their age, so a later `make run` has nothing to do.
$(READY): requirements-dev.lock requirements-build.lock pyproject.toml scripts/setup
	@scripts/setup development "$(PYTHON)"

$(READY_SERVER): requirements.lock requirements-build.lock pyproject.toml scripts/setup
	@scripts/setup server "$(PYTHON)"

run: $(READY_SERVER) ## start the server on http://127.0.0.1:8081 (Ctrl-C stops it)
	@exec $(BIN)/landline serve $(ARGS)

cluster: $(READY) ## start Kafka, PostgreSQL, Redis and two servers on them (Ctrl-C stops it all)
	@exec $(BIN)/python -m landline_stack $(ARGS)

chromium: $(READY) ## install Chromium for the browser tests, if it is missing (needs apt-get and root)
	@scripts/ensure-chromium

proxies: $(READY) ## get nginx and Caddy for the tests of docs/proxies.md, into .tmp/proxies
	@scripts/ensure-proxies

test: $(READY) chromium proxies ## run all tests; gets nginx and Caddy, and as root Chromium, if missing
	@$(BIN)/python -m landline_stack --prepare || echo 'The tests that need it will be skipped.' >&2
	@exec $(BIN)/pytest --numprocesses=$(JOBS) --dist=loadfile $(ARGS)

test-long: $(READY) ## test the faults of a cluster again; each fault lasts a minute
	@LANDLINE_TEST_AWAY_SECONDS=60 $(BIN)/pytest tests/cluster $(ARGS)

test-debug: $(READY) ## run the unit tests in asyncio's debug mode
	@PYTHONASYNCIODEBUG=1 $(BIN)/pytest tests/unit --numprocesses=$(JOBS) --dist=loadfile $(ARGS)

test-pythons: ## run the unit tests with every Python from 3.11 to 3.14 on this machine
	@JOBS=$(JOBS) scripts/test-pythons $(ARGS)

simulate: $(READY) ## run the deterministic simulation: SEEDS=0:2000 JOBS=2, or SEED=123
	@PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED) --plan '$(PLAN)',\
		--seeds $(or $(SEEDS),0:2000) --jobs $(or $(JOBS),1)) $(ARGS)

conformance: $(READY) ## run Autobahn's cases of RFC 6455 over the listener, and write their reports
	@PYTHONPATH=tests $(BIN)/python -m conformance

fuzz: $(READY) ## send mutated frames, handshakes, requests and tokens: SEED=1 COUNT=1000000
	@PYTHONPATH=tests $(BIN)/python -m fuzz $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(ARGS)

controls: $(READY) ## switch each control of docs/security.md off, and see that its test fails: ARGS="S01 S04"
	@PYTHONPATH=tests $(BIN)/python -m controls $(ARGS)

verify: $(READY) ## run the long fault runs; SEEDS="1 2 3" FOR=60s for fewer and shorter ones
	@scripts/verify "$(or $(SEEDS),1 2 3 4 5 6 7 8 9 10)" $(FOR)

check: $(READY) ## check format, lint, types, imports, and tables that repeat what the code says
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest --quiet tests/controls tests/unit/test_docs_*.py

format: $(READY) ## format the code, and fix what the linter can fix
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

bench: $(READY) ## measure speed, idle cost, memory, what sign-in costs, and what others notice of attacks
	@$(BIN)/python -m bench.speed
	@$(BIN)/python -m bench.floods
	@$(BIN)/python -m bench.sign_in
	@$(BIN)/python -m bench.rates
	@$(BIN)/python -m bench.attack
	@$(BIN)/python -m bench.idle
	@$(BIN)/python -m bench.cluster
	@$(BIN)/python -m bench.memory

docs: $(READY) ## write what the pages take from the code: options, mutants, codes, limits, controls
	PYTHONPATH=tests $(BIN)/python -m support.generated

lock: $(READY) ## resolve the dependencies of pyproject.toml again (LOCK_ARGS=--upgrade: newest)
	scripts/lock $(LOCK_ARGS)

vulnerabilities: $(READY) ## ask for known vulnerabilities of what is locked (fails where nobody can be asked)
	@scripts/vulnerabilities $(ARGS)

SBOM := dist/sbom.json

sbom: $(READY) ## list what a server consists of, with hashes, as CycloneDX: dist/sbom.json
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --spec-version 1.6 --output-file $(SBOM) requirements.lock
	@echo 'It is in $(SBOM).'

clean: ## remove everything that was made here, except the server's data
	rm -rf .venv .tmp .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find src tests bench examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
