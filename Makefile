# Everything a person or CI runs. Each target makes the environment that it needs; an environment
# is installed again only when the files it was installed from have changed.

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
DEV := $(VENV)/.installed-dev
DEMO := $(DEMO_VENV)/.installed-demo
PACKAGE := $(shell find samclip_sdk -type f -not -path '*/__pycache__/*' 2>/dev/null)

.DEFAULT_GOAL := install
.PHONY: install help demo test test-slow check docs format bench clean
.DELETE_ON_ERROR:

install: $(DEV)  ## the development environment, .venv

help:  ## what there is to run
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO)  ## text-to-mask on pictures, on onnxruntime, without torch: see demo_output/
	$(DEMO_VENV)/bin/python examples/demo.py

test: $(DEV)  ## the fast tests
	$(VENV)/bin/python -m pytest

test-slow: $(DEV)  ## the slow tests: full-size parity, ViT-B export, the wheel
	$(VENV)/bin/python -m pytest -m 'slow and not gpu'

check: $(DEV)  ## lint, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(DEV)  ## the documentation, in site/: a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

format: $(DEV)  ## apply the formatter and the safe fixes
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(DEV)  ## speed and memory beside the peers that are installed: see docs/performance.md
	$(VENV)/bin/python -m benchmarks speed

clean:  ## remove the environments and what the tools left
	rm -rf $(VENV) $(DEMO_VENV) demo_output site dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(DEMO_VENV)/bin/python:
	$(PYTHON) -m venv $(DEMO_VENV)

$(DEV): pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	# On its own: it asks for opencv-python, which would overwrite the headless one.
	$(VENV)/bin/python -m pip install --quiet --no-deps lvis
	@touch $@

# Not editable: the demo runs what a user would install, assets included.
$(DEMO): pyproject.toml $(PACKAGE) | $(DEMO_VENV)/bin/python
	$(DEMO_VENV)/bin/python -m pip install --quiet '.[onnx]'
	@touch $@
