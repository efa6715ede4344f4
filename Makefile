# Everything a person or CI runs. Each target makes the environment that it needs; an environment
# is installed again only when the files it was installed from have changed.

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
LITERT_VENV := .venv-litert
EXECUTORCH_VENV := .venv-executorch
DEV := $(VENV)/.installed-dev
LOCK := .ci/constraints.txt
DEMO := $(DEMO_VENV)/.installed-demo
LITERT := $(LITERT_VENV)/.installed-litert
EXECUTORCH := $(EXECUTORCH_VENV)/.installed-executorch
PACKAGE := $(shell find samclip_sdk -type f -not -path '*/__pycache__/*' 2>/dev/null)

# Tests start many Pythons, which would compile the package again each time.
unexport PYTHONDONTWRITEBYTECODE

# A process a core, each with torch and the runtimes on one thread; each takes up to 3 GB. One that
# crashes ends the run: with another in its place the run would wait for ever.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --max-worker-restart 0
SLOW := $(PYTEST) --dist worksteal -m 'slow and not gpu' --durations 20
SLOW_EXPORT := tests/export tests/modeling tests/parity tests/runtimes/tensorrt

# The Pythons of the wheel's smoke set: in the PATH or among pyenv's, whose shims may stand for none.
find_python = $(firstword $(filter-out %/shims/python$(1),$(wildcard \
	$(addsuffix /python$(1),$(subst :, ,$(PATH))) $(HOME)/.pyenv/versions/$(1).*/bin/python$(1))))
PYTHON_LOWEST ?= $(or $(call find_python,3.10),$(call find_python,3.11))
PYTHON_313 ?= $(call find_python,3.13)

.DEFAULT_GOAL := install
.PHONY: install help demo test test-lowest test-py313 check types lint docs format bench clean
.PHONY: test-slow test-slow-export test-slow-training test-slow-rest
.PHONY: test-c test-kotlin test-swift test-web test-integrations test-litert test-executorch test-arm
.PHONY: fuzz fuzz-parsers lock audit sbom ship ship-phones
.DELETE_ON_ERROR:

install: $(DEV)  ## the development environment, .venv

help:  ## what there is to run
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO)  ## text-to-mask on images, on onnxruntime, without torch: see demo_output/
	$(DEMO_VENV)/bin/python examples/demo.py

# File by file in the order of the tree, so that two processes seldom wait for the same export; the
# slow ones test by test, for a process that is done takes half of what the other has left.
test: $(DEV)  ## the fast tests
	$(PYTEST) --dist loadfile --no-loadscope-reorder --durations 20

# In three parts, since few changes concern them all.
test-slow: test-slow-export test-slow-training test-slow-rest  ## the slow tests, in three parts

test-slow-export: $(DEV)  ## full-size parity, the exports of ViT-B and of the default model
	$(SLOW) $(SLOW_EXPORT)

test-slow-training: $(DEV)  ## whole trainings
	$(SLOW) tests/training

test-slow-rest: $(DEV)  ## the wheel, the site, the demo, what is killed or runs for long
	$(SLOW) $(addprefix --ignore ,$(SLOW_EXPORT) tests/training)

# What old versions warn of is out of our hands: no warning is an error there.
test-lowest: $(DEV)  ## the wheel's smoke set, on the lowest versions that it declares
	.ci/test_wheel .venv-lowest "$(PYTHON_LOWEST)" lowest-direct -W default

test-py313: $(DEV)  ## the wheel's smoke set, on Python 3.13
	.ci/test_wheel .venv-py313 "$(PYTHON_313)" highest

# Of the examples in other languages. Each fetches the packages that it needs, and says in one line
# which tool is missing.
test-c: $(DEV)  ## the C example
	examples/c/test

test-kotlin: $(DEV)  ## the Kotlin packages, on a JVM
	examples/android/test

test-swift: $(DEV)  ## the Swift package, on Linux too
	examples/ios/test

test-web: $(DEV)  ## the npm package, the page in Chromium, and React Native's part in Node
	examples/web/test
	examples/react_native/test

test-integrations: $(DEV)  ## the integrations into annotation tools, with the tools' own packages
	examples/integrations/test

# The converter needs other versions of packages than the development environment.
test-litert: $(LITERT)  ## the export to LiteRT, and Kotlin on its files, in an environment of its own, .venv-litert
	OMP_NUM_THREADS=1 $(LITERT_VENV)/bin/python -m pytest -p no:anyio tests/export/litert

# The same holds for ExecuTorch, which is a runtime and its converter in one.
test-executorch: $(EXECUTORCH)  ## ExecuTorch, in an environment of its own, .venv-executorch
	OMP_NUM_THREADS=1 $(EXECUTORCH_VENV)/bin/python -m pytest -p no:anyio -k executorch \
		tests/export/executorch tests/runtimes/test_sessions.py tests/runtimes/test_refusals.py \
		tests/fuzz/test_bundles.py

test-arm: $(DEV) $(LITERT)  ## the runtimes on emulated Arm CPUs, as root on Debian: before a release
	nice -n 5 .ci/test_arm $(LITERT_VENV)/bin/python

CASES ?= 20000
SEED ?= 0
fuzz: $(DEV)  ## give the package what nobody should: CASES=20000 SEED=0, see tests/fuzz
	FUZZ_CASES=$(CASES) FUZZ_SEED=$(SEED) $(PYTEST) --dist loadfile --hypothesis-show-statistics tests/fuzz

SECONDS ?= 3600
fuzz-parsers: $(DEV)  ## let coverage guide what parsers are given, SECONDS=3600 for each: see tests/fuzz
	tests/fuzz/coverage_guided/run $(SECONDS)

check: $(DEV)  ## lint, format, types, and the rules of imports and dependencies
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types lint

types: $(DEV)
	$(VENV)/bin/mypy --num-workers $(WORKERS)

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(VENV)/bin/deptry .

docs: $(DEV)  ## the documentation, in site/: a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

format: $(DEV)  ## apply the formatter and the safe fixes
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Without it, a release of any package could turn CI red. The wheel's smoke set runs on what is newest.
lock: $(DEV)  ## the newest versions for the development environment, on every Python and system
	$(VENV)/bin/uv pip compile --quiet --upgrade --universal --no-annotate \
		--custom-compile-command 'make lock' --extra dev pyproject.toml --output-file $(LOCK)

# Both are of what a user installs: the wheel with onnxruntime, in the demo's environment.
audit: $(DEV) $(DEMO)  ## known vulnerabilities of what the wheel installs; asks a service for them
	mkdir -p dist
	$(DEMO_VENV)/bin/python -m pip freeze --exclude samclip-sdk >dist/audited.txt
	# Strictly: what the service does not know, or cannot be asked for, is an error.
	$(VENV)/bin/uv tool run 'pip-audit>=2.7' --strict --disable-pip --no-deps -r dist/audited.txt

sbom: dist/sbom.json  ## what the wheel installs, as CycloneDX JSON: dist/sbom.json

# The photographs are not in the repository: docs/training.md tells what these folders hold.
RANGES ?= data/ranges
HELD_OUT ?= data/held_out
CHECKPOINT := training/checkpoints/mobile/refinement
EMBEDDED := samclip_sdk/bundle/embedded/samclip-mobile
PHONES := phones/samclip-mobile
EXPORT := -W ignore -m export $(CHECKPOINT) --calibration-set $(RANGES)

ship: $(DEV)  ## all that ships of the default model's checkpoint: bundle, figures, pages, card, images
	# Before anything is replaced. The last one is of `make test-web`.
	ls -d $(RANGES) $(HELD_OUT) examples/web/node_modules/onnxruntime-web >/dev/null
	rm -rf dist/samclip-mobile
	$(VENV)/bin/python $(EXPORT) dist/samclip-mobile
	rm -rf $(EMBEDDED)
	mv dist/samclip-mobile $(EMBEDDED)
	rm -f docs/benchmarks/held_out_sets.jsonl
	$(VENV)/bin/python -m benchmarks quality --held-out-sets $(HELD_OUT) --write
	$(VENV)/bin/python -m benchmarks objects $(HELD_OUT) --two-models --write
	$(VENV)/bin/python -m benchmarks words --common --held-out-sets $(HELD_OUT) --write
	$(VENV)/bin/python examples/demo.py --output dist/demo
	cp dist/demo/contact_sheet.jpg docs/images/demo.jpg
	cp dist/demo/failures.jpg docs/images/failures.jpg
	node examples/web/sizes.js $(EMBEDDED) --write
	$(VENV)/bin/python -m docs.sbom

ship-phones: $(LITERT) $(EXECUTORCH)  ## its bundles for LiteRT and ExecuTorch, zipped in dist/phones, verified
	rm -rf dist/litert dist/executorch dist/phones
	mkdir -p dist/phones
	$(LITERT_VENV)/bin/python $(EXPORT) dist/litert --litert fp32 --litert fp16 --litert int8
	cd dist && ../$(LITERT_VENV)/bin/python -m zipfile -c $(PHONES)-litert.zip litert
	$(LITERT_VENV)/bin/python -m samclip_sdk verify --model dist/$(PHONES)-litert.zip --runtime litert
	$(EXECUTORCH_VENV)/bin/python $(EXPORT) dist/executorch --executorch fp32 --executorch int8
	cd dist && ../$(EXECUTORCH_VENV)/bin/python -m zipfile -c $(PHONES)-executorch.zip executorch
	$(EXECUTORCH_VENV)/bin/python -m samclip_sdk verify --model dist/$(PHONES)-executorch.zip --runtime executorch
	cd dist/phones && sha256sum *.zip >SHA256SUMS

bench: $(DEV)  ## speed and memory beside the peers that are installed: see docs/performance.md
	$(VENV)/bin/python -m benchmarks speed

clean:  ## remove the environments and what the tools left
	rm -rf $(VENV) $(DEMO_VENV) $(LITERT_VENV) $(EXECUTORCH_VENV)
	rm -rf .venv-lowest .venv-py313 .venv-integrations .venv-label-studio
	rm -rf demo_output site dist
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .test_cache

dist/sbom.json: $(DEV) $(DEMO)
	mkdir -p dist
	$(VENV)/bin/uv tool run --from 'cyclonedx-bom>=5' cyclonedx-py environment \
		--pyproject pyproject.toml --mc-type library --output-reproducible --output-format JSON \
		--output-file $@ $(DEMO_VENV)/bin/python

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(DEMO_VENV)/bin/python:
	$(PYTHON) -m venv $(DEMO_VENV)

$(LITERT_VENV)/bin/python:
	$(PYTHON) -m venv $(LITERT_VENV)

$(LITERT): pyproject.toml | $(LITERT_VENV)/bin/python
	$(LITERT_VENV)/bin/python -m pip install --quiet --editable '.[export-litert,test]'
	@touch $@

$(EXECUTORCH_VENV)/bin/python:
	$(PYTHON) -m venv $(EXECUTORCH_VENV)

# With the other runtimes that the contract of sessions is tested on; httpx asks servers in tests/fuzz.
$(EXECUTORCH): pyproject.toml | $(EXECUTORCH_VENV)/bin/python
	$(EXECUTORCH_VENV)/bin/python -m pip install --quiet --editable \
		'.[export-executorch,openvino,litert,serve,test]' 'httpx>=0.27'
	@touch $@

$(DEV): pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --constraint $(LOCK) --editable '.[dev]'
	# On its own: it asks for opencv-python, which would overwrite the headless one.
	$(VENV)/bin/python -m pip install --quiet --no-deps mobilesam-mirror==1.0.0
	@touch $@

# Not editable: the demo runs what a user would install, assets included.
$(DEMO): pyproject.toml $(PACKAGE) | $(DEMO_VENV)/bin/python
	$(DEMO_VENV)/bin/python -m pip install --quiet '.[onnx]'
	@touch $@
