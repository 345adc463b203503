# Everything a newcomer needs: `make demo`, `make test`, `make serve`, `make mlflow`, `make lint`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= demo
UV_VERSION := 0.13.9

export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := True

.PHONY: help setup demo serve mlflow test test-fast test-deep parity studies action-studies decisions-test predictions-test kill-test bad-input fuzz soak bench bench-full lint lock clean

help:
	@echo "make demo      from nothing to predictions, on a made-up retailer (under 5 minutes)"
	@echo "make serve     keep the prediction service up        (WORKSPACE=$(WORKSPACE))"
	@echo "make mlflow    open MLflow on the results            (WORKSPACE=$(WORKSPACE))"
	@echo "make test      all tests         make lint    ruff, mypy, import-linter"
	@echo "make test-deep the same with every example, fault and value that make test draws a part of (over an hour)"
	@echo "make bench     how fast it is on this machine, each figure beside its peer (bench-full: an hour and more)"
	@echo "make parity    the full parity check of features     make lock    pin the dependencies anew"
	@echo "make studies   every model on the real files in ../shared/data, and against the demo's truth (STUDIES=names)"
	@echo "make action-studies   what actions change: a real trial, logged bandits, coverage of intervals, the demo's truth"
	@echo "make decisions-test   10,000 decisions replayed; consent, caps and budget under load (about 6 minutes)"
	@echo "make predictions-test   10,000 predictions of a real service made again to the last bit (about 3 minutes)"
	@echo "make fuzz      calls made up from the API's page against the service (FUZZ_EXAMPLES=100 a route)"
	@echo "make bad-input every nasty value in every field of every live call (about 15 minutes)"
	@echo "make kill-test kill -9 of service and journal under load, 100 times each (KILLS=100; about 10 minutes)"
	@echo "make soak      ten minutes at 70 % of what the service can do: errors, memory, waits (SOAK_MINUTES=10)"

setup: $(VENV)/.ready

# LightGBM needs the GNU OpenMP runtime, which a bare Debian lacks.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Debian packages venv apart: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || \
	  { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq libgomp1; } || \
	  { echo "LightGBM needs libgomp: apt-get install libgomp1" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/twin --workspace demo demo

serve: setup
	$(BIN)/twin --workspace $(WORKSPACE) serve

mlflow: setup
	$(BIN)/twin --workspace $(WORKSPACE) mlflow

# Tests go to one worker a core.
PYTEST_PARALLEL := $(BIN)/python -m pytest -n logical --dist loadgroup --no-loadscope-reorder

test: setup
	$(PYTEST_PARALLEL)

test-fast: setup
	$(PYTEST_PARALLEL) -m "not slow"

# The same tests, with all of what `make test` draws a part of.
test-deep: setup
	TWIN_DEEP=1 TWIN_EVERY_VALUE=1 $(PYTEST_PARALLEL)

parity: setup
	$(BIN)/python -m tests.parity

# STUDIES chooses some, e.g. make studies STUDIES="leads loans"
studies: setup
	$(BIN)/python -W ignore -m tests.studies $(STUDIES)

action-studies: setup
	for study in coverage open_bandit hillstrom demo_actions grocery_actions; do \
	  $(BIN)/python -W ignore -m tests.studies.$$study || exit 1; done

# Small versions of both run in `make test`.
decisions-test: setup
	$(BIN)/python -W ignore -m tests.live_decisions replay
	$(BIN)/python -W ignore -m tests.live_decisions rules

# On a copy of the demo's workspace; a small version runs in `make test`.
predictions-test: setup
	$(BIN)/python -W ignore -m tests.live_predictions

# Each acknowledged event is there once afterwards, and the states equal those built anew, to the last bit.
KILLS ?= 100
kill-test: setup
	TWIN_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/e2e/test_service_kill.py tests/e2e/test_journal_kill.py

# Over a copy of WORKSPACE where that was made (make demo), else over a small made-up one.
SOAK_MINUTES ?= 10
soak: setup
	$(BIN)/python -W ignore -m tests.soak --minutes $(SOAK_MINUTES) --workspace $(WORKSPACE)

bad-input: setup
	TWIN_EVERY_VALUE=1 $(BIN)/python -m pytest tests/e2e/test_bad_input.py

# Others each time; what is found is repeated with the seed that is printed.
FUZZ_EXAMPLES ?= 100
fuzz: setup
	TWIN_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest -s tests/e2e/test_openapi_fuzz.py

# BENCH chooses parts and options, e.g. make bench BENCH="serve online --rounds 3 --json"
bench: setup
	$(BIN)/python -W ignore -m tests.benchmarks $(BENCH)

# The feature platform, and whole training runs, at the sizes that figures are published of: an hour and more, and 20 GB of disk.
bench-full: setup
	$(BIN)/python -W ignore -m tests.benchmarks --full serve online update build training growth history train decide $(BENCH)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup
	$(BIN)/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --extra dev \
	  pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .twin build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
