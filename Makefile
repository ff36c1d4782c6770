# make env | demo | test | torture | lint | web | doctor | clean. Each makes its own environment first; nothing has to be activated.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
DATA_DIR ?=
MINUTES ?= 30

.PHONY: env demo test torture lint web doctor clean

env: $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/python scripts/demo.py $(if $(DATA_DIR),--data_dir "$(DATA_DIR)")

test: $(VENV)/.test
	$(BIN)/python -m slipcover --source facedet -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder tests

torture: $(VENV)/.test
	$(BIN)/python tests/faults/torture.py --minutes $(MINUTES)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

web: web/node_modules/.package-lock.json
	$(or $(wildcard $(BIN)/python),$(PYTHON),python3) scripts/serve_web.py $(if $(HTTPS),--https)

web/node_modules/.package-lock.json: web/package-lock.json
	@command -v npm >/dev/null || { echo "npm was not found: install Node.js 18 or later (https://nodejs.org)."; exit 1; }
	cd web && npm ci --no-audit --no-fund

doctor:
	@$(or $(wildcard $(BIN)/python),$(PYTHON),python3) scripts/doctor.py $(if $(DATA_DIR),--data_dir "$(DATA_DIR)")

clean:
	@for path in $(VENV) web/node_modules $$(find examples -name node_modules -prune) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis; do \
		if [ -e "$$path" ]; then echo "removing $$path"; rm -rf "$$path"; fi; done; echo "demo/ is left: what it holds took its time."

$(VENV)/.demo: requirements.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 was found. Install one, or name it: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@p="$(BIN)/python"; test -x "$$p" || p="$(PYTHON)"; "$$p" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || { \
		echo "$$p is no Python 3.11 or 3.12, which TensorFlow 2.20 with the Object Detection API needs: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@# Colab's Python comes without ensurepip
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		$(PYTHON) -m pip install --quiet virtualenv && $(PYTHON) -m virtualenv --quiet $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	touch $@

$(VENV)/.test: requirements-dev.txt $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.txt
	touch $@
