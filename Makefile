# make demo | make test: all that a newcomer needs. The rest is for who works on Osteon.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
# the release that the training was tested with; a build for the CPU does
TORCH ?= torch==2.13.0

.PHONY: demo test check benchmark fuzz clean

demo: $(INSTALLED)
	$(BIN)/osteon demo

test: $(TESTABLE)
	-tests/peers/install.sh
	-test -e $(VENV)/.systemd || { $(BIN)/pip install --quiet --editable '.[systemd]' && touch $(VENV)/.systemd; }
	$(BIN)/pytest

check: $(TESTABLE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(TESTABLE)
	$(BIN)/pytest --campaign tests/faults/test_fuzz_network.py tests/faults/test_fuzz_instances.py

benchmark: $(TESTABLE)
	$(BIN)/python -m tests.benchmarks.stages
	-tests/peers/install.sh
	$(BIN)/python -m tests.benchmarks.receive

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(TESTABLE): $(INSTALLED)
	$(BIN)/pip install --quiet $(TORCH) --editable '.[dev,train]'
	touch $@

clean:
	rm -rf $(VENV) demo *.egg-info .pytest_cache .mypy_cache .ruff_cache tests/peers/node_modules
