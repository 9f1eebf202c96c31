# make demo    the first result, on a machine with nothing but Python 3.11
# make test    the test suite, but for its long checks
# make slow    the long checks
# make lint    what pre-commit runs
# make docs    the pages of docs/, with every example run, into build/docs
# make bench   neighbour search, large graphs, Leiden, modularity and attacks beside their peers; training
# make scatter torch-scatter's kernels, built from source (some minutes)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= results/modularity_curve

.PHONY: demo test slow lint docs bench scatter clean

demo: $(VENV)/.installed
	$(BIN)/python -m analyses.modularity_curve --out $(OUT)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-test
	$(BIN)/python -m sphinx -W --keep-going -q docs build/docs
	@echo "the pages are in build/docs/index.html"

bench: $(VENV)/.installed
	$(BIN)/python -m pip install -e '.[bench]'
	$(BIN)/python benchmarks/neighbors.py
	$(BIN)/python benchmarks/communities.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python -m pip install --no-deps torchattacks 'advertorch==0.2.3'
	$(BIN)/python benchmarks/attacks.py

scatter: $(VENV)/.installed
	$(BIN)/python -m pip install 'setuptools>=77' wheel ninja
	$(BIN)/python -m pip install --no-build-isolation -e '.[scatter]'

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "graphmod needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -e '.[test]'
	$(BIN)/python -m pip install --no-deps torchattacks
	@touch $@
