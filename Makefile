# Every way to run this project. `make help` lists them.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
FULL := $(VENV)/.full-installed
VLLM ?= 1
WITH_VLLM := $(if $(filter 0,$(VLLM)),,$(VENV)/.vllm-installed)
MODEL := .cache/smollm2/.made
PIP := $(BIN)/python -m pip install -qq -c constraints.txt
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadscope

export OMP_NUM_THREADS ?= 1
export VLLM

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo setup test test-fast lint format types bench-import bench-tiny bench-transformers \
  bench-vllm train-tiny clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "benchmarks: $(filter-out vllm_timing,$(sort $(patsubst benchmarks/%.py,%,$(wildcard benchmarks/*.py))))"

demo: $(if $(wildcard $(FULL)),$(FULL),$(CORE)) ## typed rows from a CSV file, by the embedded model
	@sh examples/demo.sh $(BIN)/python

setup: $(FULL) $(MODEL) $(WITH_VLLM) ## the full environment, vLLM and a real model for the tests

test: setup lint types ## everything: lint, types, all tests with coverage (VLLM=0: without vLLM)
	$(if $(WITH_VLLM),,@echo "VLLM=0: tests of vLLM are left out")
	$(PYTEST) --hypothesis-profile=ci --cov --cov-report=term $(if $(WITH_VLLM),,--cov-fail-under=0)

test-fast: $(FULL) $(MODEL) ## the tests that take no real model and no second
	$(PYTEST) -q -m "not slow"

lint: $(FULL) ## style, layers, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house/test_caps.py

format: $(FULL) ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(FULL) $(WITH_VLLM) ## pyright, strict for the package
	$(if $(WITH_VLLM),,find typedllm tools benchmarks examples tests/typing -name '*.py' \
	  ! -name 'vllm*.py' | xargs) $(BIN)/pyright

bench-import: bench-importing
bench-transformers: bench-generate # a script named transformers.py would hide the library

bench-vllm: bench-vllm-engine bench-vllm-http ## vLLM raw and typed (FILE=Banking77), and over HTTP
bench-vllm-engine bench-vllm-http bench-vllm-validity: $(WITH_VLLM)

bench-%: $(FULL) ## run benchmarks/%.py, for example `make bench-schemas FILE=mine.jsonl`
	$(BIN)/python benchmarks/$(subst -,_,$*).py $(FILE)

bench-tiny: $(FULL) $(MODEL) # beside a real model, on the same rows
	$(BIN)/python benchmarks/tiny.py $(FILE) --beside transformers:$(dir $(MODEL))

train-tiny: $(FULL) ## train the embedded model anew, three hours on one core (BANKING77=folder)
	$(BIN)/python tools/train_tiny.py $(if $(BANKING77),--banking77 $(BANKING77))

clean: ## remove what the tools leave; the environment and the test model stay
	rm -rf build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
	  .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
	  echo "typedllm needs Python 3.11 to 3.14, and '$(PYTHON)' is `$(PYTHON) --version 2>&1`;" \
	    "name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(CORE): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@$(PIP) --no-compile -e .
	@touch $@

$(FULL): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.vllm-installed: tools/install_vllm.sh constraints.txt | $(FULL)
	sh tools/install_vllm.sh $(BIN)/python
	@touch $@

$(MODEL): tools/smollm2.py | $(FULL)
	$(BIN)/python tools/smollm2.py $(@D)
	@touch $@
