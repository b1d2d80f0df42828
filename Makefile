# `make demo` and `make test` each work as the first and only command after a checkout: they make .venv,
# install what they need into it, and run. They ask for Python 3.10 or later, and for the network once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# First and by exact version: an index with builds for CPUs only then gives those, not gigabytes for GPUs.
TORCH := torch==2.13.0
SOURCES := src tests tools
OUT ?= demo_out

# Threads that spin while they wait starve whatever else the machine does.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test lint pytest format readme clean

help:
	@echo 'make demo [IN=scene.tif] [OUT=folder]   compress and restore a made-up scene, or a 12-band file'
	@echo 'make test                               lint and all tests (make lint, make pytest: one of them)'
	@echo 'make format                             ruff format and the fixes that ruff is sure of'
	@echo 'make readme                             put the measured figures into the documents'
	@echo 'make clean                              remove .venv, caches and the demo output'

demo: $(VENV)/.installed
	$(BIN)/eocodec demo $(if $(IN),--input '$(IN)') --out '$(OUT)'

test:
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory pytest

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/mypy tools

pytest: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -rfEs

format: $(VENV)/.installed-for-tests
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

readme: $(VENV)/.installed-for-tests
	$(BIN)/python tools/readme_table.py

clean:
	rm -rf $(VENV) demo_out .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "eocodec needs Python 3.10 or later and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo 'installing PyTorch and eocodec into $(VENV) (once; some minutes)'
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	@echo 'installing what the tests need'
	$(PIP) install --quiet --editable '.[test,bench,train]'
	@touch $@
