# Everything a person needs: `make run`, `make test`. Everything a developer needs: `make check bench lock`.
PYTHON ?= python3
ARGS   ?=
CHAOS_SECONDS ?= 300
CHAOS_SEEDS   ?= 1 2 3 4

# A checkout that cannot be written (read-only, or somebody else's) is left alone: all that is made goes into the user's
# cache. Make cannot have a space in a target's name, so a cache with one in its path is passed over.
ifneq ($(shell [ -w . ] && echo writable),writable)
ifndef VENV
aside := $(shell for folder in "$$XDG_CACHE_HOME" "$$HOME/.cache" "$$TMPDIR" /tmp; do \
  printf %s "$$folder" | grep -q '^/[^[:space:]]*$$' || continue; \
  made="$$folder/winnow-make-$$(id -u)-$$(pwd | cksum | cut -d ' ' -f 1)"; \
  mkdir -p -m 700 "$$made" 2>/dev/null && [ -O "$$made" ] && [ -w "$$made" ] && echo "$$made" && break; done)
ifeq ($(aside),)
$(error this checkout cannot be written, and no cache folder either; name a folder with: make run VENV=/some/folder)
endif
VENV := $(aside)/venv
endif
export PYTHONDONTWRITEBYTECODE := 1
export PYTEST_ADDOPTS := $(PYTEST_ADDOPTS) -o cache_dir=$(VENV)/cache/pytest
export HYPOTHESIS_STORAGE_DIRECTORY := $(VENV)/cache/hypothesis
export MYPY_CACHE_DIR := $(VENV)/cache/mypy
export RUFF_CACHE_DIR := $(VENV)/cache/ruff
endif
VENV   ?= .venv
BIN    := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1

compile  := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate -q
embedded := $(PYTHON) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', \
  'rb'))['project']['optional-dependencies']['embedded'], sep='\n')"

.DEFAULT_GOAL := help
.PHONY: help run test chaos check bench bench-quality lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

run: $(VENV)/.runtime ## start everything, import the sample, search it; Ctrl-C stops (ARGS=--exit: end by itself)
	@$(BIN)/winnow up --sample $(ARGS)

# The suite's order is by folder, and the slow folders come first: a process that is done takes over from the others.
# A test that failed beside others is run again alone, and named: what fails twice is wrong, what does not needs mending.
test: $(VENV)/.dev ## every test, on real servers started for the occasion
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS) || { [ $$? = 1 ] && \
	  echo "what failed above is run once more, alone" >&2 && \
	  $(BIN)/python -m pytest -rA --last-failed --last-failed-no-failures none; }

chaos: $(VENV)/.dev ## everything goes wrong at once, for longer than in `make test`; see docs/chaos.md
	$(BIN)/python -m pytest tests/chaos -k "not storm" $(ARGS)
	@for seed in $(CHAOS_SEEDS); do \
	  CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$$seed $(BIN)/python -m pytest tests/chaos/test_storm.py $(ARGS) || exit; done

check: $(VENV)/.dev ## linters, types, import rules, licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests scripts bench
	$(BIN)/lint-imports
	@$(BIN)/pip-licenses --partial-match --fail-on=GPL >/dev/null && echo "licences: no GPL among the dependencies"

bench: $(VENV)/.dev ## measure; see bench/README.md
	$(BIN)/python -m bench $(ARGS)

bench-quality: $(VENV)/.dev ## how good it is, into bench/quality.md (ARGS="--data FOLDER")
	$(BIN)/python -m bench threads meetings topics issue_types calibration extraction_speed --write bench/quality.md $(ARGS)

lock: ## pin the dependencies again (needs uv)
	$(compile) pyproject.toml -o requirements.txt
	$(compile) --group build -c requirements.txt -o requirements-build.txt
	$(embedded) | $(compile) - -c requirements.txt -o requirements-embedded.txt
	$(compile) pyproject.toml --extra embedded --group build --group dev -c requirements.txt -c requirements-build.txt \
	  -c requirements-embedded.txt -o requirements-dev.txt

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

# Python up to 3.12 does not start at all under LC_ALL=C when the way to the sources has letters beyond ASCII: a plain one.
ifeq ($(VENV),.venv)
sources := ../../../../backend
else
sources := ../../../checkout/backend
endif
define plain_way
@[ "$(VENV)" = .venv ] || ln -sfn "$(CURDIR)" "$(VENV)/checkout"
@for way in $(VENV)/lib/python3*/site-packages/*winnow.pth; do [ ! -e "$$way" ] || echo "$(sources)" > "$$way"; done
endef

# pip writes INSTALLER last, but takes a package for installed that it was interrupted at before that: away with those.
define resume
@for info in $(VENV)/lib/python3*/site-packages/*.dist-info; do [ -e "$$info/INSTALLER" ] || rm -rf "$$info"; done
endef

$(VENV)/.runtime: requirements.txt requirements-build.txt requirements-embedded.txt pyproject.toml | $(VENV)/bin/python
	$(resume)
	$(plain_way)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.txt -r requirements-build.txt -r requirements-embedded.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	$(plain_way)
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(resume)
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.txt
	@touch $@
