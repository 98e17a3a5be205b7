# Set-up and the commands of the README. Everything lands in .venv; nothing else is installed.

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# stages, DVC and tests start many processes: each would compile every module anew
export PYTHONDONTWRITEBYTECODE :=

LOWEST := .venv-lowest
# a process a core, four at most: each holds torch
FAST := -rs -m "not slow" -n logical --maxprocesses 4 --dist worksteal

.PHONY: setup run test test-all test-lowest lint docs proof clean

setup: $(VENV)/.installed   ## the environment alone

run: $(VENV)/.installed   ## set up, then run the pipeline of params.yaml
	lion run

test: $(VENV)/.installed-test lint   ## set up, then the fast tests
	pytest $(FAST)

test-all: $(VENV)/.installed-test-slow lint   ## the slow ones too
	pytest -rs

test-lowest: $(LOWEST)/.installed   ## the fast tests with the lowest versions that pyproject.toml allows
	PATH=$(CURDIR)/$(LOWEST)/bin:$$PATH pytest $(FAST)

lint: $(VENV)/.installed-test
	ruff check .
	ruff format --check .
	mypy

docs: $(VENV)/.installed-docs   ## the pages of docs/ as site/index.html, which opens without a network
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

proof: $(VENV)/.installed-proof   ## the mechanism test on this CPU, some hours, resumable; writes docs/evidence/results.md
	python bench/proof.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lion needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV): PyTorch, transformers and DVC take some minutes"
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.installed-test-slow: pyproject.toml $(VENV)/.installed-test
	$(VENV)/bin/pip install --quiet --editable '.[test,test-slow]'
	touch $@

$(LOWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --extra test pyproject.toml \
		--output-file $(LOWEST)/versions.txt
	$(LOWEST)/bin/pip install --quiet --requirement $(LOWEST)/versions.txt
	$(LOWEST)/bin/pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.installed-proof: pyproject.toml $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --editable '.[proof]'
	touch $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --editable '.[docs]'
	touch $@

clean:   ## remove the environment; data and ledger stay
	rm -rf $(VENV) $(LOWEST) site
