# make demo: the main job on a real plant.   make test: the tests.   Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test test-all check format stubs fmus clean
help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/installed ## record, train, build, swap and verify a battery cell (about 6 minutes)
	$(BIN)/python models/dfn_cell/demo.py -o out/demo

test: $(VENV)/installed ## the tests but the slow ones
	$(BIN)/python -m pytest -n 2 -m 'not slow' -q

test-all: $(VENV)/installed ## all tests
	$(BIN)/python -m pytest -n 2 -q

check: $(VENV)/installed ## format, lint, types, layers, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python build_tools/generate_stubs.py --check

format: $(VENV)/installed ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fmus: $(VENV)/installed ## build and verify the FMUs of everything under models/, into build/fmus
	$(BIN)/python build_tools/build_fmus.py

stubs: $(VENV)/installed ## generate the gRPC code from proto/
	$(BIN)/python build_tools/generate_stubs.py

clean: ## remove everything that the targets make
	rm -rf $(VENV) .venv-masters out build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
