# Holdfast.  `make setup` once, then any verb below; each works on a fresh clone.
#
#   make demo    five attested nodes sign and decrypt, lose two nodes, refuse a revoked one
#   make check   style, types, import contracts, locks, docs      (< 60 s)
#   make test    every test, the constant-time gate included      (< 12 min on 2 cores)
#   make ct      the constant-time gate alone (valgrind)
#   make sim     the whole cluster in simulation: TIMELINES=1000 SEED=1 JOBS=2
#   make bench   throughput, latency and CPU beside the same run's ceilings
#   make bench-crypto   every threshold operation of one node, beside reference figures scaled to the same run
#   make bench-attestation   verification and registry, beside one raw signature of the same run
#   make lock    compile requirements/*.txt anew from pyproject.toml

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cat pyproject.toml requirements/dev.txt 2>/dev/null | cksum | cut -d' ' -f1)
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v $$p; break; }; done)
TIMELINES ?= 1000
SEED ?= 1

.PHONY: help setup check test demo ct sim bench bench-attestation bench-crypto lock clean

help:
	@sed -n '3,11p' Makefile | sed 's/^#//'

setup: $(READY)

$(READY):
	@if [ -z "$(PYTHON)" ]; then echo "Holdfast needs Python 3.11 or later. On Debian or Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: virtual environment from $(PYTHON), hash-pinned wheels from requirements/dev.txt"
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.ready-*; touch $@
	@for tool in gcc valgrind; do command -v $$tool >/dev/null || echo "setup: $$tool not found; the constant-time gate will be skipped (apt-get install gcc valgrind)" >&2; done

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.repository.lock --check
	$(BIN)/python -m tests.lint.secret_lint enclave

test: setup
	$(BIN)/pytest

demo: setup
	$(BIN)/python -m kms.dev.demo

ct: setup
	@for tool in gcc valgrind; do command -v $$tool >/dev/null || { echo "$$tool not found; on Debian or Ubuntu: apt-get install gcc valgrind" >&2; exit 1; }; done
	$(BIN)/python -m tests.ct

sim: setup
	$(BIN)/python -m tests.simulation --timelines $(TIMELINES) --seed $(SEED) $(if $(JOBS),--jobs $(JOBS))

bench: setup
	$(BIN)/python -m tests.bench

bench-crypto: setup
	$(BIN)/python -m tests.bench.crypto

bench-attestation: setup
	$(BIN)/python -m tests.bench.attestation

lock: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.repository.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
