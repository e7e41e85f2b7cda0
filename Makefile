# The two commands of the README: `make demo` and `make test`. Both need only Python 3.11 or newer, git and make.
# The first that really runs: a shim of a version manager may stand on the PATH and fail.
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3; do \
  $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test trials check format schemas editor bench fuzz mutants prove matrix docs clean

$(VENV)/demo: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/demo

$(VENV)/docs: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --editable '.[docs]'
	@touch $@

# Break a small LinkFlow on this machine (workers killed) and mend it behind a gate.
demo: $(VENV)/demo
	$(BIN)/runbook demo

# The tests, against real servers that the tests start. `make test ARGS='-k gate'` picks some.
test: $(VENV)/dev
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m 'not trial' $(ARGS)

# Every resolution carried out on a LinkFlow that is really broken, and taken back where it has an undo.
trials: $(VENV)/dev
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m trial $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict runbook_engine
	$(BIN)/mypy --check-untyped-defs tests
	$(BIN)/runbook validate playbooks examples

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/runbook fmt playbooks examples

# The schemas of schema/, written anew from the models.
schemas: $(VENV)/dev
	$(BIN)/python tests/test_schema.py

# The language server that editors use, for tests/test_editor.py; without node those tests skip.
NODE := .node
$(NODE)/ready: tests/editor/package-lock.json
	@mkdir -p $(NODE) && cp tests/editor/package.json tests/editor/package-lock.json $(NODE)
	cd $(NODE) && npm ci --no-audit --no-fund --ignore-scripts
	@touch $@

editor: $(NODE)/ready

# How long validate takes for 2,000 files, the first time and again: figures, not assertions.
bench: $(VENV)/dev
	$(BIN)/python benchmarks/validate.py $(ARGS)

# What each file of the hostile corpus costs to judge: figures, not assertions.
fuzz: $(VENV)/dev
	$(BIN)/python benchmarks/fuzz.py $(ARGS)

# Playbooks with one thing changed that somebody could get wrong: how many does validate or a test notice?
mutants: $(VENV)/dev
	$(BIN)/python tests/mutants.py $(ARGS)

# Every fault three times with jitter, ten pairs, twenty healthy runs: accuracy, false alarms, harm rate.
matrix: $(VENV)/dev
	$(BIN)/runbook sandbox matrix --jobs 2 $(ARGS)

# Every way each of our playbooks can run, gone through without any target: gates, guards, verification, undo.
prove: $(VENV)/dev
	$(BIN)/runbook prove playbooks $(ARGS)

# The documentation as a site in build/docs; a warning is an error.
docs: $(VENV)/docs
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going -b html docs build/docs

clean:
	rm -rf build docs/generated $(VENV) $(NODE) .mypy_cache .ruff_cache .pytest_cache .hypothesis
