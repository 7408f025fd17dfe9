# Everything runs in .venv, which is set up at the first use and again when pyproject.toml or constraints.txt change.
#
#     make demo                    the first notebook on real data, killed half-way, resumed
#     make test PYTHON=python3.13  another Python, for a new .venv
#
# perdure needs Python 3.11 or newer. Unless PYTHON names one, the first of these that is new enough and can
# make virtual environments is taken.

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
ifndef PYTHON
PYTHON := $(shell for python in $(CANDIDATES); do \
    $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
    echo $$python && break; done)
endif

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
export PIP_NO_INPUT := 1
KILLS ?= 200
SEED ?= $(shell date +%s)

# The newest version that `go install` accepts: the go.mod files of later ones replace a module, which it refuses.
TEMPORAL_CLI := github.com/temporalio/cli/cmd/temporal@v1.5.1

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench chaos lab temporal clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 14

demo: .venv/.demo  ## a real pipeline: run, kill -9 half-way, resume, prove that nothing ran twice (1 minute)
	@$(BIN)/python notebooks/demo.py

test: .venv/.test  ## all tests
	$(BIN)/python -m pytest

lint: .venv/.lint  ## ruff, and mypy --strict on the public packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.bench  ## measures latency, throughput, recovery, memory; beside DBOS and a raw fsync loop
	$(BIN)/python -m benchmarks

chaos: .venv/.test  ## 200 kills at random instants over running workflows (KILLS=, SEED=)
	PERDURE_KILLS=$(KILLS) $(BIN)/python -m pytest tests/crash/test_store_kills.py --timeout 3600
	$(BIN)/python tests/crash/chaos.py --kills $(KILLS) --pair $$(($(KILLS) * 3 / 10)) --seed $(SEED)

lab: .venv/.lab  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks/01_first_workflow.ipynb

temporal: $(BIN)/temporal  ## Temporal's own dev server, for the tests that compare; needs Go (5 minutes the first time)

$(BIN)/temporal:
	@if ! command -v go >/dev/null; then \
	    echo "make temporal: there is no Go, which builds Temporal's dev server: nothing was installed."; \
	    echo "make temporal: install Go (Debian, Ubuntu: apt install golang-go; any system: https://go.dev/dl), or put a"; \
	    echo "make temporal: temporal command on PATH (https://docs.temporal.io/cli): the tests use it as well."; \
	else \
	    echo "building $(TEMPORAL_CLI) into $(BIN) …" && mkdir -p $(BIN) && \
	    GOBIN="$(CURDIR)/$(BIN)" go install $(TEMPORAL_CLI) && $@ --version; \
	fi

clean:  ## removes what make made
	rm -rf .venv build

.venv/.python:
	@test -n "$(PYTHON)" || { \
	    echo "make: perdure needs Python 3.11 or newer with venv; tried: $(CANDIDATES)."; \
	    echo "make: install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python"; \
	    exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: PYTHON=$(PYTHON) is not Python 3.11 or newer, which perdure needs."; exit 1; } >&2
	@echo "setting up .venv with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv .venv
	@touch $@

# What each goal needs of pyproject.toml's extras; the stamp says that it is installed.
.venv/.demo: extras := demo
.venv/.test: extras := test,lab,browser
.venv/.lint: extras := lint,test,lab
.venv/.bench: extras := test,bench
.venv/.lab: extras := lab,demo
.venv/.%: .venv/.python pyproject.toml constraints.txt
	@echo "installing perdure[$(extras)] into .venv …"
	@$(PIP) --editable '.[$(extras)]'
	@touch $@
