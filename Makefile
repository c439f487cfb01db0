# Every target sets up what it needs: `make quickstart` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable

.PHONY: quickstart demo chromium test lint bench results constraints clean

$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed; say make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --constraint constraints.txt --editable .
	touch $(INSTALLED)

$(TESTABLE): $(INSTALLED)
	$(PIP) --constraint constraints.txt --editable '.[test]'
	touch $(TESTABLE)

quickstart: $(INSTALLED)  ## trains, scores and reports every stage on the embedded synthetic corpus
	$(BIN)/signbind quickstart

demo: runs/demo/bundle.json  ## the quickstart's translator on a page, with recordings to try it with
	$(PIP) --constraint constraints.txt --editable '.[serve]'
	$(BIN)/signbind serve --checkpoint=runs/demo

runs/demo/bundle.json: | quickstart
	$(BIN)/signbind export translator --checkpoint=runs/quickstart/translation --examples=runs/quickstart/examples --out=runs/demo

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

chromium:  ## the browser that tests/browser opens the page in, unless there is one; as root, by apt
	command -v chromium || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq -y --no-install-recommends chromium; }

test: $(TESTABLE) lint  ## the whole suite; in order of the folders, so that the longest files come first
	JAX_PLATFORMS=cpu GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder tests

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.train_speed --stage=signing,lipreading --against=

results: quickstart  ## every figure of docs/results.md: two more seeds, and what fusion does without time (three quarters of an hour)
	$(BIN)/python -m benchmarks.results

constraints:  ## constraints.txt anew, of the newest versions that setup.py allows; then `make test`
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable '.[test]'
	( sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable ) >$(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt
	touch $(INSTALLED) $(TESTABLE)

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache *.egg-info
