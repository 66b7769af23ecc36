# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

.PHONY: demo test lint types layers unit faults bench bench-quick bench-cost peers lock lock-peers clean

demo: .venv/installed
	@$(BIN)/radiolog demo

test: lint types layers unit

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

layers: .venv/installed
	$(BIN)/lint-imports

# Two at a time, a file of tests in one process: each has servers of its own. The longest files come first.
unit: .venv/installed
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

# Every fault at its full length, on servers of its own; `make test` runs each for some seconds.
faults: .venv/installed
	RADIOLOG_FAULTS=full $(BIN)/pytest tests/faults tests/log/test_state_machine.py $(PYTEST)

# How fast it is, against what a user would pick instead (docs/performance.md). `bench` takes the scripts one after
# another, keeps going where one misses a goal, and draws the charts; `bench-quick` takes those with a floor, in less than
# three minutes, and fails below one.
BENCHMARKS := pipeline frameworks pixels inference rows avro latency training_rate growth start transcoding scaling
QUICK := pixels avro inference pipeline

bench: .venv/installed .venv-peers/installed
	@failed=; for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json build/bench/$$name.json || failed="$$failed $$name"; \
	done; .venv-peers/bin/python benchmarks/charts.py build/bench docs/charts; \
	.venv-peers/bin/python benchmarks/scaling_chart.py build/bench/scaling.json docs/charts/scaling.svg; \
	if [ -n "$$failed" ]; then echo "a goal is missed, or the benchmark failed:$$failed"; exit 1; fi

bench-quick: .venv/installed .venv-peers/installed
	@for name in $(QUICK); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --quick || exit 1; done

# What exactly-once costs, and whether a stage's memory stays flat: half an hour, and up to 15 GB of disk on the way.
bench-cost: .venv/installed
	$(BIN)/python benchmarks/exactly_once.py
	$(BIN)/python benchmarks/memory.py

.venv/installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("radiolog needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@echo "installing the pinned dependencies into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# What radiolog is compared with, in an environment of its own.
peers: .venv-peers/installed

.venv-peers/installed: benchmarks/peers/requirements.txt
	@$(PYTHON) -m venv .venv-peers
	@echo "installing the peers into .venv-peers ..."
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock-peers: .venv/installed
	$(COMPILE) --upgrade benchmarks/peers/requirements.in -o benchmarks/peers/requirements.txt

# Pins newer versions: run it by intent, then `make test`.
lock: .venv/installed
	$(COMPILE) pyproject.toml --upgrade --all-extras -o requirements-dev.lock
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock -o requirements.lock

clean:
	rm -rf .venv .venv-peers build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
