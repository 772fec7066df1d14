# `make` lists everything there is to do. Nothing has to be prepared but Python 3.11 or later.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PORT ?= 8000
ARGS ?=

# The first Python that starts and is new enough; PYTHON=... names another.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

PACKAGES := config audit accounts trials casebook dosing adverse_events analysis exchange
LOCK := .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" pyproject.toml

.PHONY: help python setup setup-dev demo demo-reset test browser check lint types contracts migrations-complete \
	requirements-fresh docs-fresh docs compose-valid bench lock format

help: ## list what there is to do
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

python:
	@test -n "$(PYTHON)" || { echo "Canopy needs Python 3.11 or later, and none was found. On Debian or Ubuntu type:  sudo apt-get install -y python3 python3-venv   or name one:  make PYTHON=/path/to/python3.12"; exit 1; }

setup: python
	@$(PYTHON) config/embedded/environment.py requirements.txt

setup-dev: python
	@$(PYTHON) config/embedded/environment.py requirements-dev.txt

demo: setup ## set up everything and run Canopy with three trials on 127.0.0.1:8000 (PORT=8001 for another port)
	@.venv/bin/python -m config.demo --port $(PORT)

demo-reset: setup ## throw the demo's data away; the next `make demo` starts over
	@.venv/bin/python -m config.demo --reset

test: setup-dev browser ## run the whole suite (ARGS="-k gate" for a part of it)
	@.venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

browser:
	@.venv/bin/python -m config.embedded.browser

check: setup-dev lint types contracts migrations-complete requirements-fresh docs-fresh compose-valid ## all that must hold before a change is handed in, tests apart

lint:
	@echo "ruff" && .venv/bin/ruff check . && .venv/bin/ruff format --check .
	@echo "djlint" && .venv/bin/djlint --lint --quiet templates $(wildcard $(addsuffix /templates,$(PACKAGES)))

types:
	@echo "mypy" && .venv/bin/mypy

contracts:
	@echo "import-linter" && .venv/bin/lint-imports

# The three that ask Django do so with the settings of the tests, and need no server: nothing is read from a database.
MANAGE_OFFLINE := DJANGO_SETTINGS_MODULE=tests.settings .venv/bin/python -W ignore::RuntimeWarning manage.py

migrations-complete:
	@echo "migrations" && $(MANAGE_OFFLINE) makemigrations --check --dry-run

docs-fresh:
	@echo "generated documents" && $(MANAGE_OFFLINE) generate_docs --check

requirements-fresh:
	@echo "requirements" && fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	mkdir -p $$fresh/docker && cp requirements.txt requirements-dev.txt $$fresh/ && cp docker/requirements.txt $$fresh/docker/ && \
	$(LOCK) --extra embedded --extra dev -o $$fresh/requirements-dev.txt && \
	$(LOCK) --extra embedded -c requirements-dev.txt -o $$fresh/requirements.txt && \
	$(LOCK) -c requirements-dev.txt -o $$fresh/docker/requirements.txt && \
	for file in requirements.txt requirements-dev.txt docker/requirements.txt; do \
		diff -q $$file $$fresh/$$file >/dev/null || { echo "$$file is not what pyproject.toml compiles to: run make lock"; exit 1; }; \
	done

compose-valid:
	@echo "compose file" && .venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose.yaml

docs: setup-dev ## write the generated documents anew
	@$(MANAGE_OFFLINE) generate_docs

bench: setup-dev ## measure the performance, as ratios to a reference in the same run
	@set -e; for program in bench/bench_*.py; do echo "== $$program"; PYTHONPATH=. .venv/bin/python $$program; done

format: setup-dev ## bring the code into its form
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

lock: setup-dev ## compile the locked requirements from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(LOCK) $(ARGS) --extra embedded --extra dev -o requirements-dev.txt
	@$(LOCK) --extra embedded -c requirements-dev.txt -o requirements.txt
	@$(LOCK) -c requirements-dev.txt -o docker/requirements.txt
