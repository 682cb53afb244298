# Everything a person needs: `make run`, `make test`. Everything a developer needs: `make check bench lock`.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test check bench lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

run: $(VENV)/.runtime ## start everything, import the sample, search it; Ctrl-C stops (ARGS=--exit: end by itself)
	@$(BIN)/winnow up --sample $(ARGS)

test: $(VENV)/.dev ## every test, on real servers started for the occasion
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## linters, types, import rules, licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests scripts bench
	$(BIN)/lint-imports
	@$(BIN)/pip-licenses --partial-match --fail-on=GPL >/dev/null && echo "licences: no GPL among the dependencies"

bench: $(VENV)/.dev ## measure; see bench/README.md
	$(BIN)/python -m bench $(ARGS)

lock: ## pin the dependencies again (needs uv)
	uv pip compile pyproject.toml --group build --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.txt
	uv pip compile pyproject.toml --group build --group dev --universal --python-version 3.11 -c requirements.txt \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements-dev.txt

clean: ## remove the virtual environment and caches; never data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "Winnow needs Python 3.11 to 3.14; name one: make run PYTHON=python3.13" >&2; exit 2; }
	@echo "setting up $(VENV) (once; about a minute)"
	@before=$$(ls -A $(VENV) 2>/dev/null); $(PYTHON) -m venv $(VENV) >/dev/null || { \
	  rm -f $@; [ -n "$$before" ] || rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv); then run make again" >&2; \
	  exit 2; }

# pip writes INSTALLER last, but takes a package for installed that it was interrupted at before that: away with those.
define resume
@for info in $(VENV)/lib/python3*/site-packages/*.dist-info; do [ -e "$$info/INSTALLER" ] || rm -rf "$$info"; done
endef

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(resume)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(resume)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.txt
	@touch $@
