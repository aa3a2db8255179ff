# Everything Jenkins runs, the two commands a newcomer needs (`make run`, `make test`), and `make check` while working.
# What a user chooses (PROJECT, CHANNEL, FORCE, PORT, ROLLBACK_TO, TARGET, WHY, FROM, BACKUP, …) reaches Python
# through the environment only, so no text of theirs is ever part of a shell command.
SHELL := /bin/bash
# A stage is a line of the table in ml/stages/__init__.py: its name, and what `make help` says of it.
STAGE_TABLE := sed -nE 's/^    "([a-z]+)": "(.*)",$$/\1\t\2/p' ml/stages/__init__.py
STAGES := $(shell $(STAGE_TABLE) | cut -f 1)
export PROJECT CHANNEL FORCE PORT ROLLBACK_TO TARGET WHY FROM UNTIL INJECT BACKUP KEYS

# On a laptop everything stays in the checkout. A Jenkins build cleans its workspace, so there what must outlive it
# (environments, keys, registry, services) lives in ML_HOME; an environment is found again by the lock file's hash.
ifdef BUILD_TAG
export ML_HOME ?= $(HOME)/.ml
# What only the tests of the code need stays out of the environment that trains.
LOCKS := requirements.txt $(if $(filter fast-tests check-tests,$(MAKECMDGOALS)),tests/requirements.txt)
VENV := $(ML_HOME)/venvs/$(firstword $(shell cat $(LOCKS) | sha256sum))
else
VENV := .venv
endif
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
TOOLS := $(VENV)/test-tools
# Beside the environment, not in it: pandera would load it in every process, the service's included.
DASK := $(VENV)/dask/installed
# COVERAGE=1 notes which lines of ml/ run, in processes that tests start too; .ci/run reports them.
PYTEST := $(PYTHON) $(if $(COVERAGE),-m coverage run) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
# Ansible has an environment of its own: neither training nor serving carries it.
HOSTS_VENV := .venv-hosts
TESTS := tests/unit
CHECKS := check-style check-format check-types check-tests

.PHONY: run test check fast-tests $(CHECKS) sabotage load replay bench stop install lock help projects nightly-projects \
    touched-projects monitor-projects approval doctor prune backup restore $(STAGES) lint-syntax \
    lint-flake8 lint-pydocstyle lint-dependencies rollback jenkins-up jenkins-down jenkins-logs jenkins-local \
    jenkins-local-stop jenkins-test hosts-tools test-hosts dask-tools

help:  ## list the targets
	@{ grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'; $(STAGE_TABLE); } | expand -t 24

run: $(INSTALLED)  ## all stages, from raw data to a service that answers
	@$(PYTHON) -m ml run

test: $(TOOLS) $(DASK)  ## the whole test suite, on all cores
	@$(PYTEST)

check: $(TOOLS)  ## style, formatting, types and the fast tests: a minute, while working
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync $(CHECKS)

check-style: $(TOOLS)
	@$(PYTHON) -m flake8 ml jenkins tests
	@$(PYTHON) -m pydocstyle ml jenkins
	@$(PYTHON) -m ruff check --quiet ml jenkins

check-format: $(TOOLS)
	@$(PYTHON) -m ruff format --quiet --diff

check-types: $(TOOLS)
	@$(PYTHON) -m mypy --no-error-summary

check-tests: $(TOOLS)
	@$(PYTEST) --quiet -m "not slow" --durations 5 --durations-min 1 $(TESTS)

sabotage: $(TOOLS)  ## break data, code, model and environment on purpose: who notices? (an hour)
	@$(PYTHON) -m tests.sabotage

load: $(INSTALLED)  ## swaps, rollbacks, a killed worker under load: is a request lost? (five minutes; needs wrk, nginx)
	@$(PYTHON) -m tests.load

bench: $(TOOLS)  ## speed beside MLflow, BentoML, DVC, DuckDB, one script: ratios (half an hour; needs wrk, an idle machine)
	@$(PYTHON) -m tests.bench all

replay: $(TOOLS)  ## play dated rows through the whole loop: PROJECT=flights FROM=2013-04-01 (half an hour)
	@$(PYTHON) -m tests.replay

stop: $(INSTALLED)  ## stop the service
	@$(PYTHON) -m ml serve --stop

rollback: $(INSTALLED)  ## return the channel to the version before, or to ROLLBACK_TO=N
	@$(PYTHON) -m ml rollback

doctor: $(INSTALLED)  ## look at this machine: disk, memory, ports, clock, keys, packages, what is reachable
	@$(PYTHON) -m ml doctor

prune: $(INSTALLED)  ## show what could go; `python -m ml doctor --prune --yes` takes it away
	@$(PYTHON) -m ml doctor --prune

backup: $(INSTALLED)  ## write registry and stores into BACKUP=FILE, and the keys into KEYS=FILE
	@$(PYTHON) -m ml backup "$$BACKUP" $(if $(KEYS),--keys "$$KEYS")

restore: $(INSTALLED)  ## bring BACKUP=FILE (and KEYS=FILE) back where there is nothing
	@$(PYTHON) -m ml restore "$$BACKUP" $(if $(KEYS),--keys "$$KEYS")

projects: $(INSTALLED)  ## list the projects
	@$(PYTHON) -m ml projects

nightly-projects: $(INSTALLED)  ## list those that the job `nightly` trains
	@$(PYTHON) -m ml projects --nightly

touched-projects: $(INSTALLED)  ## list those that commits after SINCE touch; all, if there is no such commit
	@$(PYTHON) -m ml projects --since "$$SINCE"

approval: $(INSTALLED)  ## say whether a person must approve what is deployed into CHANNEL
	@$(PYTHON) -m ml approval

fast-tests: $(TOOLS)  ## the fast tests, with reports for Jenkins in build/tests: junit.xml, coverage.xml
	@$(PYTHON) -m coverage erase
	@status=0; env --unset=ML_OUTCOME $(MAKE) --no-print-directory check-tests COVERAGE=1 PYTEST_ADDOPTS=--junitxml=build/tests/junit.xml || status=$$?; \
	{ $(PYTHON) -m coverage combine --quiet && $(PYTHON) -m coverage xml --quiet -o build/tests/coverage.xml; } || status=1; \
	exit $$status

$(filter-out monitor,$(STAGES)): $(INSTALLED)
	@$(PYTHON) -m ml $@

# Without Jenkins nobody else starts the training that a look asks for.
monitor: $(INSTALLED)
	@$(PYTHON) -m ml monitor $(if $(BUILD_TAG),,--train)

monitor-projects: $(INSTALLED)  ## look at every project that is in service
	@$(PYTHON) -m ml monitor --all

lint-syntax lint-flake8 lint-pydocstyle lint-dependencies: $(INSTALLED)
	@$(PYTHON) -m ml lint --check $(@:lint-%=%)

install: $(INSTALLED)  ## install requirements.txt, if that was not done yet

jenkins-up: $(INSTALLED)  ## start a whole Jenkins in containers (needs Docker)
	@$(PYTHON) -m jenkins.compose up

jenkins-down: $(INSTALLED)  ## stop it; what it holds is kept in volumes
	@$(PYTHON) -m jenkins.compose down

jenkins-logs: $(INSTALLED)  ## follow its logs
	@$(PYTHON) -m jenkins.compose logs

jenkins-local: $(INSTALLED)  ## start a Jenkins without Docker (needs Java 21)
	@$(PYTHON) -m jenkins.local start

jenkins-local-stop: $(INSTALLED)  ## stop it; SERVICE=stop ends the services of the models too
	@$(PYTHON) -m jenkins.local stop $(if $(filter stop,$(SERVICE)),--with-services)

jenkins-test: $(TOOLS)  ## test a live Jenkins: JENKINS_URL=... JENKINS_USER=... JENKINS_TOKEN=...
	@$(PYTHON) -m pytest tests/jenkins/test_live.py

hosts-tools: $(HOSTS_VENV)/installed  ## install Ansible for jenkins/hosts, in an environment of its own

test-hosts: $(TOOLS) $(HOSTS_VENV)/installed  ## provision, renew and break real hosts (root, systemd-nspawn; half an hour)
	@$(PYTHON) -m pytest tests/hosts

$(HOSTS_VENV)/installed: jenkins/hosts/requirements.txt
	@echo "installing $< into $(HOSTS_VENV) (once)"
	@"$${PYTHON3:-python3}" -m venv --clear $(HOSTS_VENV)
	@$(HOSTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

dask-tools: $(DASK)  ## install what a search on a Dask cluster needs

$(DASK): ml/training/dask.txt | $(INSTALLED)
	@echo "installing $< into $(@D) (once)"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) --requirement $<
	@touch $@

# Who names a cluster needs it.
$(if $(DASK_SCHEDULER_ADDRESS),run train): $(DASK)

# What only tests need; what training and serving use stays as requirements.txt has it.
$(TOOLS): $(INSTALLED) $(if $(BUILD_TAG),,tests/requirements.txt)
	@echo "installing tests/requirements.txt into $(VENV) (once)"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint requirements.txt \
	    --requirement tests/requirements.txt
	@touch $@

# uv if it is there, pip otherwise; nothing is installed again until requirements.txt changes.
$(INSTALLED): $(if $(BUILD_TAG),,requirements.txt)
	@set -e; mkdir -p $(dir $(VENV)); exec 9>$(VENV).lock; flock 9; \
	if [ -n "$$BUILD_TAG" ] && [ -e $@ ]; then exit 0; fi; \
	for python in "$${PYTHON3:-python3}" python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "error: no Python 3.11 or newer: install one, or name it: make PYTHON3=..." >&2; exit 1; fi; \
	echo "installing requirements.txt into $(VENV) (once)"; rm -rf $(VENV); \
	if command -v uv >/dev/null; then \
	    uv venv --quiet --python "$$found" $(VENV); \
	    uv pip install --quiet --compile-bytecode --python $(PYTHON) --requirement requirements.txt; \
	else \
	    "$$found" -m venv $(VENV); \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt; \
	fi; \
	touch $@

lock:  ## compile requirements.txt anew from requirements.in (needs uv)
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url requirements.in --output-file requirements.txt
