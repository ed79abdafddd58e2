# Two commands for a newcomer: `make demo` and `make test`. Everything else is named in `make help`.
VENV := .venv
BIN := $(VENV)/bin
# The first Python that really starts; a version manager's shim may be there and not work.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: help install demo ui screenshots test coverage check lint types layers browser-tools faults soak bench bench-retrieval docs clean
.DEFAULT_GOAL := help

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed ## .venv with gardener in it

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found; or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing gardener and what it needs (the first time this takes minutes)"
	@$(PIP_INSTALL) -e .
	@$(BIN)/python -m compileall -q gardener ui $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@

demo: $(VENV)/.installed ## add a real repository, ask it, switch, ask again (REPO=/path adds yours)
	@REPO="$(REPO)" scripts/demo.sh

ui: $(VENV)/.installed ## the app in the browser, with the demo's projects
	@GARDENER_HOME="$${GARDENER_HOME:-$(CURDIR)/.demo/home}" $(BIN)/gardener ui

# A test often waits for a process of its own, so three at once for two cores.
test: $(VENV)/.installed-test browser-tools check ## everything that can fail: style, types, layers, tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile

coverage: $(VENV)/.installed-test browser-tools ## the tests in one process, and what they do not reach
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: lint types layers ## style, types and layers only

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	@$(BIN)/mypy

layers: $(VENV)/.installed-test
	@$(BIN)/lint-imports

browser-tools: ## bats, chromium, bubblewrap, shellcheck and tmux for the tests, where this system can bring them
	@scripts/test_tools.sh

docs: $(VENV)/.installed-test ## the pages as a site in build/site; a broken link is a failure
	@$(BIN)/python scripts/configuration_docs.py
	@$(BIN)/python scripts/cli_docs.py
	@$(BIN)/python -m mkdocs build --strict

screenshots: $(VENV)/.installed-test ## pictures of every page into docs/screenshots (FOLDERS="..." instead of this repository)
	@$(BIN)/python -m scripts.screenshots $(FOLDERS)

bench: $(VENV)/.installed-test ## every row of docs/performance.md, against the peers
	@$(BIN)/python -m benchmarks.run

bench-%: $(VENV)/.installed-test
	@$(BIN)/python -m benchmarks.run $*

faults: $(VENV)/.installed-test ## kill, fill, flip and crowd a real Gardener and count what is lost (ARGS="kills --tries 5")
	@$(BIN)/python -m faults.run $(ARGS)

soak: $(VENV)/.installed-test ## an hour of daily life under kill -9 and a bad model server (ARGS="--minutes 5")
	@$(BIN)/python -m faults.soak $(ARGS)

bench-retrieval: $(VENV)/.installed-test ## search quality against peers (ARGS="--held-out --git PATH --code-only")
	@$(BIN)/python -m benchmarks.retrieval $(ARGS)

clean: ## remove what make made, the demo's data included
	rm -rf $(VENV) .demo build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
