# Everything a reader or contributor runs. Needs Python >= 3.11 (with venv and pip), git
# and make; the rest is installed into .venv, again only when pyproject.toml changes.

# Where everything is installed, and by which Python (the first 3.11 or newer if empty).
VENV ?= .venv
PYTHON ?=
BIN = $(VENV)/bin
STEP = @printf '%s\n'

# One core a test worker, where BLAS threads would only fight each other; and the demo's
# matrices are too small to be worth a second one.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
ARGS ?=
SEEDS ?= 50

PYTEST = $(ONE_THREAD) $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal
PROPERTIES = $(PYTEST) --only-properties

# A pinned kernel choice can halve the speed of matrix products; let OpenBLAS choose.
unexport OPENBLAS_CORETYPE
# An active environment or a path of the caller's must not reach into .venv.
unexport PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo look test lowest seeds deep interop opinfo lint types docs bench clean

help:  ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(VENV)/ready-apps  ## train a captioner on the built-in pictures and show it
	$(STEP) "Training the captioning demo ..."
	@$(ONE_THREAD) $(BIN)/minigrad caption demo $(ARGS)

look: $(VENV)/ready-look  ## show what a network looks at in a few photos
	@$(ONE_THREAD) $(BIN)/minigrad look saliency $(ARGS)

test: $(VENV)/ready-test  ## run the tests (ARGS="-k lstm" chooses some)
	@$(PYTEST) $(ARGS)

seeds: $(VENV)/ready-test  ## run the property tests under 50 seeds, new examples for each
	@for seed in $$(seq 1 $(SEEDS)); do \
	    printf 'seed %s: ' $$seed; \
	    $(PROPERTIES) --hypothesis-seed=$$seed -q $(ARGS) > .seeds.log 2>&1 \
	        || { cat .seeds.log; exit 1; }; \
	    tail -n 1 .seeds.log; \
	done; rm -f .seeds.log

deep: $(VENV)/ready-test  ## run the property tests with 1,000 examples each, for a night
	@HYPOTHESIS_PROFILE=deep $(PROPERTIES) $(ARGS)

lowest: $(VENV)-lowest/ready  ## run the tests with the oldest versions that are allowed
	@$(MAKE) --no-print-directory test VENV=$(VENV)-lowest

interop: $(VENV)/ready-test $(VENV)/ready-interop  ## compare with PyTorch and safetensors, skipping nothing
	@MINIGRAD_REQUIRE_PEERS=1 $(PYTEST) tests/interop $(ARGS)

opinfo: $(VENV)/ready-test $(VENV)/ready-interop  ## hold PyTorch's samples of its operators against ours
	@$(ONE_THREAD) $(BIN)/python -m tests.interop.opinfo $(ARGS)

lint: $(VENV)/ready-lint  ## check style with ruff
	@$(BIN)/ruff check .

types: $(VENV)/ready-types  ## check types with mypy
	@$(BIN)/python -m mypy

docs: $(VENV)/ready-docs  ## run the documentation's code, then build it
	$(STEP) "Breaking every gradient rule, for the table of docs/checking.md ..."
	@mkdir -p docs/_generated
	@$(BIN)/python -m tests.support.mutations > docs/_generated/mutations.md
	$(STEP) "Running the documentation's code ..."
	@$(BIN)/sphinx-build -q -E -W -n --keep-going -d docs/_build/doctrees \
	    -b doctest docs docs/_build/doctest
	@$(BIN)/sphinx-build -q -E -W -n --keep-going -d docs/_build/doctrees \
	    -b html docs docs/_build/html
	$(STEP) "Read docs/_build/html/index.html"

bench: $(VENV)/ready-test  ## measure us beside every installed peer
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove .venv and everything built (trained runs stay)
	@rm -rf .venv .venv-* docs/_build docs/_generated dist .coverage .hypothesis .seeds.log .mypy_cache .pytest_cache .ruff_cache
	@find minigrad nn apps tests benchmarks docs -name __pycache__ -type d \
	    -exec rm -rf {} + 2>/dev/null || true

# uv knows how to choose the lowest versions; `test` finds them installed.
$(VENV)-lowest/ready: pyproject.toml
	$(STEP) "Installing the lowest versions that pyproject.toml allows into $(@D) ..."
	@$(MAKE) --no-print-directory VENV=$(@D) $(@D)/created
	@$(@D)/bin/python -m pip install -qq "uv>=0.8"
	@$(@D)/bin/uv pip install -q --python $(@D)/bin/python --native-tls \
	    --resolution lowest-direct --editable ".[test]"
	@touch $(@D)/ready-test $@

# $(VENV)/ready-NAME stands for "the extra NAME is installed as pyproject.toml asks".
$(VENV)/ready-%: pyproject.toml | $(VENV)/created
	$(STEP) "Installing what 'make $(firstword $(MAKECMDGOALS))' needs into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --editable ".[$*]"
	@touch $@

$(VENV)/created:
	$(STEP) "Making $(VENV) ..."
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	        2>/dev/null; then exec $$python -m venv --clear $(VENV); fi; \
	done; \
	echo "make: no $(or $(PYTHON),Python) 3.11 or newer with venv was found; install one" \
	    "(on Debian: apt install python3 python3-venv) and run make again." >&2; exit 1
	@touch $@
