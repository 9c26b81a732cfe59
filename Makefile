# Every goal does its own set-up: a virtual environment in .venv with the packages pinned in requirements/.
# YAOP_HOST and YAOP_PORT say where `make serve` listens. ARGS is passed on: make test ARGS=tests/unit

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --progress-bar off
# The checkout itself; what it needs is already there from a lock, and so is the tool that builds it.
INSTALL_YAOP := $(INSTALL) --no-deps --no-build-isolation --editable .
UV := uv==0.13.9
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--custom-compile-command 'make lock' --constraints requirements/constraints.in $(if $(UPGRADE),--upgrade)
# What is installed where nothing is developed: the versions of the tests.
LOCK = $(COMPILE) pyproject.toml requirements/build.in --no-annotate --constraints requirements/dev.lock

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help serve test lint format bench train soak screenshots images docs lock browser programs environment clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/serve.stamp ## run the service on 127.0.0.1:8000
	@exec $(BIN)/yaop serve $(ARGS)

test: lint programs ## check everything: style, types, and all tests
	@$(BIN)/python -m pytest $(ARGS)

lint: environment ## style and types only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: environment ## put the code in the one format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: environment ## measure engines, decoding and the service side by side
	@$(BIN)/python -m benchmarks $(ARGS)

train: environment ## from pictures to a bundle in minutes; COCO=folder or DATA=folder: the default recipe on COCO
	@$(BIN)/yaop train run $(if $(COCO)$(DATA),$(if $(COCO),--coco '$(COCO)') $(if $(DATA),--data '$(DATA)'),--recipe smoke) $(ARGS)

soak: environment ## kill a training run and a server with video jobs twenty times each, and one with streams for five minutes; see that all goes on
	@$(BIN)/python -m tests.soak_training --kills 20 $(ARGS)
	@$(BIN)/python -m tests.soak_videos --kills 20
	@$(BIN)/python -m tests.soak_streams --minutes 5

screenshots: browser ## take the pictures of the page in docs/screenshots again
	@$(BIN)/python -m tests.screenshots

images: environment ## build both container images without a Docker engine, try them, and print their sizes
	@deploy/build-without-docker.sh $(ARGS)
	@$(BIN)/python -m deploy.try_images $(ARGS)

docs: environment ## write again what is made from code: tables of settings and metrics, Kubernetes' copy of the alerts
	@$(BIN)/python -m service.reference docs/operations.md
	@$(BIN)/python -m deploy.kubernetes.prometheus_rule

environment: $(VENV)/dev.stamp

programs: environment ## a browser, PostgreSQL, nginx and promtool for the tests, where they can be had
	@.ci/programs $(BIN)/python chromium postgres nginx promtool

browser: environment
	@.ci/programs $(BIN)/python chromium

lock: $(VENV)/bin/python ## pin the packages again (UPGRADE=1: to their newest versions)
	@$(INSTALL) '$(UV)'
	@$(COMPILE) pyproject.toml requirements/build.in --extra serve --extra train --extra tensorflow --extra dev \
		--output-file requirements/dev.lock
	@$(LOCK) --extra serve --output-file requirements/serve.lock
	@$(LOCK) --extra serve --extra tensorflow --output-file requirements/serve-tensorflow.lock
	@$(LOCK) --extra serve --extra gpu --output-file requirements/serve-gpu.lock
	@$(LOCK) --extra train --output-file requirements/train.lock
	@$(LOCK) --extra train --extra gpu --output-file requirements/train-gpu.lock
	@$(COMPILE) pyproject.toml requirements/build.in --no-annotate --extra tpu --output-file requirements/train-tpu.lock

clean: ## remove what these goals made, but not runs/ or data/
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './runs/*' -not -path './data/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@.ci/python -m venv $(VENV)

$(VENV)/serve.stamp: $(VENV)/bin/python requirements/serve.lock pyproject.toml
	@echo 'Installing the packages the service needs (first time: about a minute) ...'
	@$(INSTALL) --requirement requirements/serve.lock
	@$(INSTALL_YAOP)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python requirements/dev.lock pyproject.toml
	@echo 'Installing the packages for tests and training, TensorFlow among them (first time: a few minutes) ...'
	@$(INSTALL) --requirement requirements/dev.lock
	@$(INSTALL_YAOP)
	@touch $@
