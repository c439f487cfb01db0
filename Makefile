# Every target sets up what it needs: `make quickstart` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test lint bench results constraints clean

$(STAMP): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(STAMP)

quickstart: $(STAMP)  ## trains, scores and reports every stage on the embedded synthetic corpus
	$(BIN)/signbind quickstart

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: $(STAMP) lint  ## the whole suite; in order of the folders, so that the longest files come first
	JAX_PLATFORMS=cpu GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests

bench: $(STAMP)
	$(BIN)/python -m benchmarks.expert_step

results: quickstart  ## every figure of docs/results.md: two more seeds, and what fusion does without time (three quarters of an hour)
	$(BIN)/python -m benchmarks.results

constraints:  ## constraints.txt anew, of the newest versions that setup.py allows; then `make test`
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	( sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable ) >$(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache *.egg-info
