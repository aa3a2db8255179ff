# Everything Jenkins runs, and the two commands a newcomer needs: `make run` and `make test`.
# What a user chooses (PROJECT, CHANNEL, FORCE, PORT) reaches Python through the environment only, so no text of
# theirs is ever part of a shell command.
SHELL := /bin/bash
PYTHON := .venv/bin/python
STAGES := lint data train quality deploy
export PROJECT CHANNEL FORCE PORT

.PHONY: run test stop lock help $(STAGES) lint-flake8 lint-pydocstyle lint-dependencies rollback

help:  ## list the targets
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

run: .venv/installed  ## all stages, from raw data to a service that answers
	@$(PYTHON) -m ml run

test: .venv/installed  ## the whole test suite
	@$(PYTHON) -m pytest

stop: .venv/installed  ## stop the service
	@$(PYTHON) -m ml serve --stop

rollback: .venv/installed  ## return the channel to the version before
	@$(PYTHON) -m ml rollback

$(STAGES): .venv/installed
	@$(PYTHON) -m ml $@

lint-flake8 lint-pydocstyle lint-dependencies: .venv/installed
	@$(PYTHON) -m ml lint --check $(@:lint-%=%)

# uv if it is there, pip otherwise; nothing is installed again until requirements.txt changes.
.venv/installed: requirements.txt
	@set -e; for python in "$${PYTHON3:-python3}" python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "error: no Python 3.11 or newer: install one, or name it: make PYTHON3=..." >&2; exit 1; fi; \
	echo "installing requirements.txt into .venv (once)"; rm -rf .venv; \
	if command -v uv >/dev/null; then \
	    uv venv --quiet --python "$$found" .venv; \
	    uv pip install --quiet --compile-bytecode --python $(PYTHON) --requirement requirements.txt; \
	else \
	    "$$found" -m venv .venv; \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt; \
	fi; \
	touch $@

lock:  ## compile requirements.txt anew from requirements.in (needs uv)
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url requirements.in --output-file requirements.txt
