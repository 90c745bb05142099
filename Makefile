# Two commands: `make book` builds the site, `make test` runs every test. Both do all the set-up a fresh machine needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SITE := _build/html/index.html

.PHONY: book test test-package test-notebooks test-site notebooks refresh bench bench-site pictures animations new-entry lint clean setup
.DEFAULT_GOAL := book

setup: $(READY)

$(READY): requirements.txt pyproject.toml scripts/setup.sh
	PYTHON=$(PYTHON) bash scripts/setup.sh $(VENV)
	touch $@

book: $(READY)
	$(BIN)/jupyter-book build . --quiet
	@echo "The site: file://$(CURDIR)/$(SITE)"

# Everything: style, package, contracts, widgets; notebooks through nbval; the built site in Chromium; JupyterLab.
test: $(READY) lint book
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore=tests/site -n 2 --dist loadscope
	$(MAKE) test-notebooks
	$(MAKE) test-site

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test-package: $(READY)
	$(BIN)/python -m pytest tests --ignore=tests/site --ignore=tests/book -n 2 --dist loadscope

test-notebooks: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval --nbval-cell-timeout 300 book -n 2 --dist loadscope

test-site: $(READY) book
	$(BIN)/python -m pytest tests/site --ignore=tests/site/test_jupyterlab.py -n 2 --dist load
	$(BIN)/python -m pytest tests/site/test_jupyterlab.py

# Every page at two widths, by day and by night, to look at: tests/site/artefacts. PAGE=experts takes those it names.
pictures: $(READY) book
	$(BIN)/python -m pytest tests/site/test_pages.py -k "sound and $(or $(PAGE),book)" --pictures -n 2

# Run the notebooks again and store what they show: all, or `make notebooks NB=book/attention/fewer_keys.ipynb`.
notebooks: $(READY)
	$(BIN)/python book/execute.py $(NB)

# Put the present front-end modules of the widgets into the stored notebooks, without running them.
refresh: $(READY)
	$(BIN)/python book/execute.py --refresh-widgets $(NB)

# Time every entry that has a peer; writes benchmarks/results.json, which a page shows.
bench: $(READY)
	$(BIN)/python benchmarks/bench.py $(CHAPTER)

# Measure the site: weight of pages, time to the first widget, frames while it plays; writes benchmarks/site.json.
bench-site: $(READY) book
	$(BIN)/python benchmarks/site_speed.py

# Render the manim scenes again; needs manim (the extra `animations`).
animations: $(READY)
	$(BIN)/python assets/animations/render.py $(SCENE)

# make new-entry CHAPTER=activation CONCEPT=squareplus NAME="Squareplus"
new-entry: $(READY)
	$(BIN)/python scripts/new_entry.py "$(CHAPTER)" "$(CONCEPT)" "$(NAME)"

clean:
	rm -rf _build build *.egg-info .pytest_cache .ruff_cache tests/site/artefacts
