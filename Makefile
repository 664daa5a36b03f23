# `make` alone lists the targets. `run` and `run-threaded` need Python 3.11+ and nothing else; the
# others make their own environment in .venv first.

PYTHON ?= python3
PORT ?= 4221
SEEDS ?= 10000
IDLE ?= 0
DIRECTORY ?= files
MODEL ?= each
THREADS ?= 32
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run run-threaded test test-fast check sim clean locust bench-locust bench-quick bench bench-full \
  bench-report bench-cost bench-files bench-routes bench-memory bench-fairness bench-tls bench-selftest

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

run: ## serve the demo at http://127.0.0.1:4221/ (PORT=..., DIRECTORY=...)
	@mkdir -p $(DIRECTORY)
	@exec $(PYTHON) -m handlers --port $(PORT) --directory $(DIRECTORY)

run-threaded: ## the same with threads in place of the loop (MODEL=each|pool, THREADS=32)
	@mkdir -p $(DIRECTORY)
	@exec $(PYTHON) -m loadtest.threaded --model $(MODEL) --threads $(THREADS) \
	  --port $(PORT) --directory $(DIRECTORY) handlers:app

# Two processes, one file of tests each at a time. Compiled tests and modules are kept between runs.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(VENV)/test ## every test: protocol, simulator, real sockets, browser (minutes)
	$(PYTEST)

test-fast: $(VENV)/test ## tests without sockets, processes and long searches (under a minute)
	$(PYTEST) -m "not system and not slow"

check: $(VENV)/test $(VENV)/check ## linter, formatter, strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sim: $(VENV)/test ## the simulator over many seeds (SEEDS=10000)
	$(BIN)/python -m tests.simulation.simulate --seeds $(SEEDS)

locust: $(VENV)/bench ## locust's page at http://127.0.0.1:8089/, on both servers (Ctrl-C stops all)
	@exec $(BIN)/python -m loadtest.scenarios.web

bench-locust: $(VENV)/bench ## locust without its page on both servers, about a minute
	$(BIN)/python -m loadtest.scenarios.bench

bench-cost: $(VENV)/bench ## instructions and CPU per request, beside a raw loop, nginx and uvicorn
	-$(BIN)/python -m loadtest.benchmarks.instructions
	$(BIN)/python -m loadtest.benchmarks.cpu

bench-files: $(VENV)/bench ## CPU per file beside nginx, and what bystanders notice
	$(BIN)/python -m loadtest.benchmarks.files

bench-routes: $(VENV)/bench ## CPU per request of an application, beside Starlette and itself
	$(BIN)/python -m loadtest.benchmarks.routes

bench-memory: $(VENV)/bench ## memory of idle, slow and very large transfers
	$(BIN)/python -m loadtest.benchmarks.memory

bench-fairness: $(VENV)/bench ## latency of bystanders beside crowds, and what crowds get (IDLE=10000)
	$(BIN)/python -m loadtest.benchmarks.fairness --idle $(IDLE)

bench-tls: $(VENV)/bench ## CPU, memory and bystanders over TLS, beside nginx, uvicorn and a bare loop
	$(BIN)/python -m loadtest.benchmarks.tls

bench-selftest: $(VENV)/bench ## does the harness notice a server that is frozen for 2 s?
	$(BIN)/python -m loadtest.experiment.selftest

bench-quick: $(VENV)/bench ## reactor and threads, 6 cells in 2 minutes: loadtest/report/index.html
	$(BIN)/python -m loadtest.experiment quick

bench: $(VENV)/bench ## reactor and threads, a dozen cells in 15 minutes: loadtest/report/index.html
	$(BIN)/python -m loadtest.experiment bench

bench-full: $(VENV)/bench ## every cell, peers as well; says first how long it takes
	$(BIN)/python -m loadtest.experiment full

bench-report: $(VENV)/bench ## the report again, from its raw data
	$(BIN)/python -m loadtest.experiment report

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One environment; a stamp file for each extra that has been put into it. Old ones are taken as
# they are: a change of pyproject.toml installs again.
$(VENV)/test $(VENV)/check $(VENV)/bench: $(VENV)/%: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  $$($(BIN)/python -c "import tomllib; print(' '.join( \
	  tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$*']))")
	@touch $@
