# `make` alone lists what there is. Each target sets up what it needs; nothing has to be installed before
# but Python 3.11+ (and, where this isn't root on Debian or Ubuntu, the servers: see deploy/local/programs.py).

PY := .venv/bin/python
# What another set-up of Python left in the environment must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# Of `make demo`, `make bench` and `make soak`: more words for the command, as in `make bench ARGS=--help`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up test test-foreign check demo bench soak soak-routes alerts faults fences schema-fuzz reference test-versions lock clean runtime dev

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# In question mode (-q) make runs only lines that begin with +, and ends with their status; else it makes each a 2.
ifeq ($(MAKECMDGOALS),up)
MAKEFLAGS += -q
endif
up: ## set up everything and run it here; Ctrl-C stops it (PORT, FLOWER_PORT, TIERCEL_HOME)
	+@unset MAKEFLAGS MFLAGS; SERVERS=1 deploy/bootstrap.sh runtime && exec $(PY) -m deploy.local.up

test: dev ## set up everything and run the tests, without the long ones
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-foreign: dev ## what signers and verifiers of other people say to ours (npm's, too, where node is)
	CI=1 $(PY) -m pytest tests/foreign $(ARGS)

check: dev ## what CI runs: format, lint, types, imports, dependencies, compose, tests with coverage, known vulnerabilities
	@deploy/check.sh

demo: runtime ## beside a running `make up`: send a flash-sale day and show what became of it
	$(PY) -m bench.demo $(ARGS)

bench: ## measure everything in a private system, beside peers and ceilings (hours; ARGS=--quick tries it in minutes)
	@SERVERS=1 deploy/bootstrap.sh bench
	$(PY) -m bench $(ARGS)

soak: runtime ## beside a running `make up`: any verified body is kept; 50,000 mutated requests, and what must still hold
	$(PY) -m bench.soak.kept
	$(PY) -m bench.soak.fuzz $(ARGS)

soak-routes: runtime ## beside a running `make up`: 100,000 made-up requests to every route, and what must still hold
	$(PY) -m bench.soak.routes $(ARGS)

alerts: dev ## bring about what each alert is for and see it fire: a real Prometheus over a private system (20 minutes)
	$(PY) -m bench.measure.alerts $(ARGS)

faults: dev ## break everything, one thing at a time, under load: about an hour (ARGS="--count 1000 --only Redis")
	$(PY) -m tests.faults $(ARGS)

fences: dev ## take each fence out of a copy of the code and show the test that fails without it
	$(PY) -m tests.faults.fences $(ARGS)

schema-fuzz: dev ## at least 20,000 made-up requests to every route, with keys of each scope and none
	SCHEMA_FUZZ_CALLS=20000 $(PY) -m pytest tests/integration/api/test_openapi_fuzz.py -s $(ARGS)

reference: dev ## write docs/api-reference.md from what the routes say about themselves, docs/catalogues.md from the catalogues
	$(PY) -m app.web.reference
	$(PY) -m deploy.catalogues

test-versions: dev ## integration and acceptance tests on old and new servers (root on Debian; debootstrap)
	@deploy/versions.sh

lock: dev ## choose the versions of all packages anew, with hashes, for every Python and system we support
	@deploy/lock.sh

clean: ## remove the virtual environment and the private servers with their data
	@if [ -x $(PY) ]; then $(PY) -m deploy.local.clean; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* *.egg-info build dist

runtime:
	@deploy/bootstrap.sh runtime

dev:
	@SERVERS=1 deploy/bootstrap.sh dev
