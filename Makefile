# Everything happens in .venv; nothing is installed outside this folder. `make` alone prints this help.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv/bin
# loadfile: the tests of one file share their servers, so they stay in one worker. In order: the long ones come first
PYTEST := $(VENV)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup dev run test lint format bench bench-live bench-worker bench-hunt bench-ingest bench-search bench-restore bench-spool bench-outage bench-index score fuzz chaos mutate pcaps lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## set up .venv with the command .venv/bin/fenghuo (again: only what changed)
	@$(PYTHON) tools/bootstrap.py

dev: ## the same, and everything that tests need
	@$(PYTHON) tools/bootstrap.py --dev

run: setup ## console at http://127.0.0.1:8600 and a sensor on the sample captures; Ctrl-C ends both
	@$(VENV)/python tools/run.py $(ARGS)

test: dev ## set up, check style, types and imports, run all tests
	@status=0; $(MAKE) --no-print-directory lint || status=$$?; $(PYTEST) || status=$$?; exit $$status

lint: ## style, types, import contracts (needs `make dev` once)
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

format: ## let ruff rewrite what it can
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

bench: setup ## measure speed and memory, beside other tools where they are installed (ARGS=--help)
	@$(VENV)/python -m tools.bench $(ARGS)

bench-live: setup ## as root: the highest rate captured live without loss, beside Suricata where it is installed
	@$(VENV)/python -m tools.bench_live $(ARGS)

bench-worker: dev ## what it costs to decode in a process of its own, beside doing so in place (ARGS=--help)
	@$(VENV)/python -m tools.bench_worker $(ARGS)

bench-ingest: dev ## how many findings a second a console takes, and how soon it acknowledges them (ARGS=--help)
	@$(VENV)/python -m tools.bench_ingest $(ARGS)

bench-restore: setup ## how long backup, restore and verification of a million findings take (ARGS=--help)
	@$(VENV)/python -m tools.bench_restore $(ARGS)
bench-search: dev ## how fast a million findings are searched on SQLite (ARGS=--help)
	@$(VENV)/python -m tools.bench_search $(ARGS)

bench-spool: setup ## how many findings a second a sensor keeps and sends, and what they need on disk (ARGS=--help)
	@$(VENV)/python -m tools.bench_spool $(ARGS)

HUNTED ?= var/bench/archive
bench-hunt: setup ## how long a bulletin's indicators take over three years of behaviours (HUNTED=folder, 1 GB; ARGS=--help)
	@$(VENV)/python -m tools.bench_hunt $(HUNTED) $(ARGS)

bench-outage: setup ## the console is down while findings arrive, then drains them (ARGS="--minutes 10")
	@$(VENV)/python -m tools.bench_outage $(ARGS)

bench-index: dev ## a search cluster that is killed while a million findings go in, and how fast it is fed (ARGS=--help)
	@$(VENV)/python -m tools.bench_index $(ARGS)

SCORED ?= pcaps $(wildcard ../shared/captures)
score: setup ## what the detectors find in labelled captures, beside Suricata where it is installed (SCORED=folders)
	@$(VENV)/fenghuo rules score $(SCORED) $(ARGS)

SECONDS ?= 60
fuzz: dev ## mutated messages of every protocol through the decoder, SECONDS=60 for each
	@$(VENV)/python -m tools.fuzz --seconds $(SECONDS) $(ARGS)

chaos: dev ## kill sensor, console, worker (--store postgresql, --index: those too) at random and at every step: what is lost? (ARGS=--help)
	@PYTHONPATH=tests:. nice $(VENV)/python -m chaos $(ARGS)

mutate: dev ## change one field of each sample of the rules: does the match break? (ARGS=a rule)
	@$(VENV)/python -m tools.mutate_rules $(ARGS)

pcaps: dev ## rebuild the scenario captures
	@$(VENV)/python -m pcaps.build

UV_COMPILE := $(VENV)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
lock: setup ## resolve the dependencies anew (UPGRADE=--upgrade for the newest ones)
	printf 'pip\nuv\nhatchling>=1.27\neditables\n' | $(UV_COMPILE) $(UPGRADE) - -o locks/setup.txt
	$(UV_COMPILE) $(UPGRADE) pyproject.toml --extra console --extra columnar --extra postgresql -o locks/run.txt
	$(UV_COMPILE) $(UPGRADE) pyproject.toml --all-extras -c locks/run.txt -o locks/dev.txt

clean: ## remove what setup and the tools made; the data under var/ stays
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	rm -rf console/static/vendor console/frontend/node_modules
	find console -name '*.mo' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
