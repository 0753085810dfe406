# make run     set up, then the whole R1 recipe on the embedded models, to a table and a report
# make test    set up, then the test suite          (PYTEST_ARGS="-m slow" etc. are passed on)
# make check   set up, then ruff and mypy
# The set-up is done once: .venv is stamped, and made anew only where the project's requirements have changed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: run test check clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
NEEDS := pyproject.toml constraints.txt
PYTEST_ARGS ?= -n 2 --dist loadfile

run: $(VENV)/.ponder-run
	$(BIN)/ponder run r1

test: $(VENV)/.ponder-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.ponder-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@for python in $${PYTHON:-} python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "make: $(VENV) with $$($$python --version)"; \
	    $$python -m venv $(VENV) || { rm -rf $(VENV); \
	      echo "make: no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }; \
	    exit 0; \
	  fi; \
	done; \
	echo "make: Ponder needs Python 3.11 or newer, and $$(python3 --version 2>&1 || true) is what is here;" \
	  "install one, or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2

# PyTorch first. Its CPU build is a tenth of the size, so it is taken where the index has one and there is no NVIDIA GPU.
$(VENV)/.ponder-torch: constraints.txt | $(BIN)/python
	@echo "make: installing PyTorch $(TORCH) (once; a few minutes)"
	@if nvidia-smi -L >/dev/null 2>&1 || ! $(PIP) install "torch==$(TORCH)+cpu" 2>/dev/null; then \
	  $(PIP) install "torch==$(TORCH)"; fi
	@touch $@

$(VENV)/.ponder-run: $(NEEDS) $(VENV)/.ponder-torch
	@echo "make: installing Ponder"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.ponder-dev: $(NEEDS) $(VENV)/.ponder-torch
	@echo "make: installing Ponder and what its tests need"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@$(PIP) install -c constraints.txt -e '.[gym]' 2>/dev/null || \
	  echo "make: reasoning-gym cannot be built here (one of its parts needs a C compiler); its tests are skipped"
	@touch $@ $(VENV)/.ponder-run
