# Two commands matter: `make lab` runs the first lab, `make test` runs every test. Both set up all
# they need. `make help` lists the rest. Works with GNU make 3.81 (macOS) and later, without git.

.PHONY: help lab test test-fast lint types assets drift unit-tests gpu-tests notebook-tests \
        build format bench constraints clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The steps of `test` are ordered so that the quick failures come first; -j would lose that.
.NOTPARALLEL:

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Prints the first Python that is new enough and can make a virtual environment (Debian and Ubuntu
# ship that part separately). `make PYTHON=python3.12 lab` tries that one only.
PYTHONS = $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
FIND_PYTHON = for python in $(PYTHONS); do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$python; exit 0; fi; done; \
	echo "make: no Python 3.11 or newer with venv among: $(PYTHONS);" \
	"install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)" \
	"or name one: make PYTHON=..." >&2; exit 1

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

# --- for everyone ---------------------------------------------------------------------------------

lab: .venv/.installed-lab  ## the first lab: table, out/indemnity.json, out/indemnity.png
	@$(BIN)/w2s-lab fetch
	@report=$$($(BIN)/w2s-lab check 2>&1) || { echo "$$report" >&2; exit 1; }
	@mkdir -p out
	@$(BIN)/w2s-lab run indemnity --json out/indemnity.json --figure out/indemnity.png

test: lint types assets drift unit-tests notebook-tests  ## every test, notebooks included

# --- for contributors -----------------------------------------------------------------------------

# Smoke size and the first failure ends it: an answer, not a verdict.
test-fast: lint types assets  ## lint, types and the quick tests, in under two minutes
	W2S_SIZE=smoke OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" -x

lint: .venv/.installed-dev  ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev  ## type check of the package
	$(BIN)/mypy

assets: .venv/.installed-dev  ## models and data into the cache, verified
	$(BIN)/w2s-lab fetch

drift: .venv/.installed-dev  ## the committed notebooks are what their sources build
	$(BIN)/w2s-lab build --check
	$(BIN)/python docs/data/make_cards.py --check

# Two workers with one thread each share two cores without fighting for them; a file stays on one
# worker, so that what its fixtures computed is computed once.
unit-tests: .venv/.installed-dev  ## tests/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Skipped, each with a word, where there is none.
gpu-tests: .venv/.installed-dev assets  ## the tests that need a GPU
	$(BIN)/python -m pytest -m gpu

# One process, so that torch has all cores. A cell may train on a slow laptop: 15 minutes.
notebook-tests: .venv/.installed-dev  ## runs lessons and solutions, compares what claims and checks print
	W2S_SIZE=lab W2S_QUIET=1 $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=900 notebooks solutions

build: .venv/.installed-dev assets  ## notebooks from their sources, executed
	$(BIN)/w2s-lab build

format: .venv/.installed-dev  ## rewrites the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed-dev assets  ## the engine against its peers: ratios, memory, spread
	$(BIN)/w2s-lab bench

clean:  ## removes all that make made here (the cache of models and data lies elsewhere and stays)
	rm -rf .venv out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- installation ---------------------------------------------------------------------------------

# An interrupted or outdated environment is made anew; one that works is kept, with what its owner
# added to it.
.venv/.torch: pyproject.toml constraints.txt
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	python=$$($(FIND_PYTHON)) && echo "Making .venv with $$python ($$($$python --version))" && \
	$$python -m venv --clear .venv; }
	@echo "Installing the pinned packages, about two minutes the first time ..."
	@# torch goes first and alone. Left to the packages that need it, another release might be chosen,
	@# on Linux with gigabytes of CUDA; the pin is also met by a CPU build that is already there.
	@$(PIP) torch setuptools
	@touch $@

# setuptools is pinned and installed by now: with no isolation it builds, not whichever is newest.
.venv/.installed-lab: .venv/.torch
	@$(PIP) --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: .venv/.torch
	@$(PIP) --no-build-isolation -e '.[dev,bench,grade,cluster]'
	@touch .venv/.installed-lab $@

# Newest releases within the ranges of pyproject.toml, all extras. torch keeps its version unless
# another is named: `make constraints TORCH=2.14.0`. Run it on Linux with the oldest Python; what
# only macOS or Windows need stays unpinned.
TORCH = $(shell sed -n 's/^torch==//p' constraints.txt)
FRESH := build/constraints
constraints:  ## renews constraints.txt; then run make test
	rm -rf $(FRESH)
	python=$$($(FIND_PYTHON)) && $$python -m venv $(FRESH)
	$(FRESH)/bin/python -m pip install --quiet torch==$(TORCH) setuptools
	$(FRESH)/bin/python -m pip install --quiet --no-build-isolation -e '.[bench,cluster,grade,docs,dev]'
	@# A local tag such as +cpu names a build, not a release: another machine has other builds.
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  $(FRESH)/bin/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+.*//'; \
	} > $(FRESH)/constraints.txt
	mv $(FRESH)/constraints.txt constraints.txt
	rm -rf $(FRESH)
