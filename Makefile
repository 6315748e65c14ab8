# slidemill: `make help` lists what there is. Only git, make and Python >= 3.11 with venv are needed.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
CODE := scripts tests benchmarks
RULES := workflow/Snakefile workflow/rules

# Folders may have any name: they are handed on through the environment, never as part of a command.
export SLIDES RESULTS ANNOTATIONS CONFIG

.PHONY: help demo run train test check format lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'make run and make estimate also take ANNOTATIONS=folder and CORES=number'

demo: $(VENV)/run.stamp ## install, paint three slides, and run the whole workflow on them; about a minute after the installation
	$(BIN)/python scripts/make_demo_slides.py $(DEMO)
	$(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml

# A configuration's keys count, except for folders that are given with it.
run: $(VENV)/run.stamp ## run the workflow on your slides: SLIDES=folder RESULTS=folder, or CONFIG=file
	@$(BIN)/python scripts/check_config.py "$${CONFIG:-config/config.yaml}"
	@set --; \
	if [ -n "$$CONFIG" ]; then set -- --configfile "$$CONFIG"; \
	else SLIDES="$${SLIDES:-slides}"; RESULTS="$${RESULTS:-results}"; fi; \
	if [ -n "$$SLIDES$$RESULTS$$ANNOTATIONS" ]; then set -- "$$@" --config $${SLIDES:+slides="$$SLIDES"} \
		$${RESULTS:+results="$$RESULTS"} $${ANNOTATIONS:+annotations="$$ANNOTATIONS"}; fi; \
	$(BIN)/snakemake --cores $(CORES) "$$@"

.PHONY: estimate
estimate: $(VENV)/run.stamp ## estimate size, time and speed of each kind of store; the same arguments as run
	@$(BIN)/slidemill estimate --cores $(CORES) $${CONFIG:+--config "$$CONFIG"} $${SLIDES:+--slides "$$SLIDES"} \
		$${RESULTS:+--results "$$RESULTS"} $${ANNOTATIONS:+--annotations "$$ANNOTATIONS"}

.PHONY: race
race: export BENCH_SLIDE := $(BENCH_SLIDE)
race: export PYWSI := $(PYWSI)
race: export ONLY := $(ONLY)
race: export REPEATS := $(or $(REPEATS),5)
race: $(VENV)/run.stamp ## compare the speed with other tools on one slide: BENCH_SLIDE=slide PYWSI=checkout REPEATS=number ONLY=names
	$(BIN)/python -m benchmarks.race --repeats "$$REPEATS" $${BENCH_SLIDE:+--slide "$$BENCH_SLIDE"} \
		$${PYWSI:+--pywsi "$$PYWSI"} $${ONLY:+--only "$$ONLY"}

train: demo ## train a small network on the demo's labels; needs PyTorch: .venv/bin/pip install torch
	$(BIN)/python scripts/train_demo.py $(DEMO)/results

.PHONY: train-mil
train-mil: $(VENV)/run.stamp ## train an attention MIL head on twelve small slides; needs PyTorch, too
	$(BIN)/python scripts/make_mil_slides.py $(DEMO)/mil
	$(BIN)/snakemake --cores $(CORES) --configfile config/mil.yaml
	$(BIN)/python scripts/train_mil.py $(DEMO)/mil/results

test: $(VENV)/test.stamp ## run the quick tests
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal

.PHONY: torture
torture: $(VENV)/test.stamp ## kill runs at random moments, and flip a thousand bits; about six minutes
	$(BIN)/python -m pytest -m torture -n $(CORES) tests/torture tests/core/test_seals.py

.PHONY: fuzz
fuzz: export FUZZ_SECONDS := $(or $(FUZZ_SECONDS),180)
fuzz: $(VENV)/test.stamp ## read damaged files of every kind: FUZZ_SECONDS=number
	$(BIN)/python -m pytest -m fuzz tests/fuzz

.PHONY: cluster
cluster: $(VENV)/test.stamp ## run the workflow on a temporary Slurm of two nodes; needs root, slurm-wlm and munge
	$(BIN)/python -m pytest -m cluster -rs tests/cluster

check: $(VENV)/test.stamp ## check format, lint, types, imports and workflow, and run all tests
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy scripts/slidemill $(wildcard scripts/*.py) benchmarks
	PYTHONPATH=scripts $(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check $(RULES)
	$(BIN)/python scripts/make_demo_slides.py $(DEMO)
	$(BIN)/snakemake --lint --configfile config/demo.yaml
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal --hypothesis-profile=full \
		-m 'not cluster and not torture and not fuzz'

PEERS := .venv-peers
.PHONY: peers
peers: $(VENV)/test.stamp $(PEERS)/geopandas/done $(PEERS)/lazyslide/done $(PEERS)/slideflow/done ## read exported folders with other programs' readers; their environments take some GB
	$(BIN)/python -m pytest -m long -rs tests/exchange/test_peers.py

$(PEERS)/geopandas/done:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check geopandas
	@touch $@

# What its reader of annotations imports.
$(PEERS)/lazyslide/done:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check wsidata==0.12.0 geopandas huggingface_hub
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps lazyslide==0.13.0
	@touch $@

# What its readers of TFRecords and bags import: not all that it requires can be built everywhere.
$(PEERS)/slideflow/done:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps slideflow==3.0.2
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'protobuf<3.21' 'setuptools<81' crc32c fpdf2 \
		matplotlib opencv-python-headless packaging pandas rasterio requests rich scikit-image scikit-learn shapely \
		tabulate torch torchvision tqdm
	@touch $@

.PHONY: docs
docs: $(VENV)/test.stamp ## build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site: $(CURDIR)/site/index.html"

.PHONY: pictures
pictures: demo $(VENV)/test.stamp ## draw the pictures of README and docs, and run the notebook, from the demo
	$(BIN)/python scripts/make_pictures.py $(DEMO) docs/images
	$(BIN)/python scripts/make_notebook.py docs/tutorials/slidemill-in-ten-minutes.ipynb

.PHONY: generate
generate: $(VENV)/run.stamp ## write the configuration's schema, config.yaml, and the reference of keys and columns
	$(BIN)/python scripts/generate_reference.py

format: $(VENV)/test.stamp ## format code and rules
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/snakefmt $(RULES)

UV_COMPILE = $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --strip-extras --upgrade pyproject.toml
lock: ## pin the newest versions again, with hashes
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet uv
	$(UV_COMPILE) --extra workflow --output-file requirements.lock
	$(UV_COMPILE) --extra workflow --extra test --constraint requirements.lock --output-file requirements-test.lock

clean: ## remove the environment, the demo and caches, but no results
	rm -rf $(VENV) .venv-race $(PEERS) $(DEMO) site benchmarks/out .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "slidemill needs Python 3.11 or newer as '$(PYTHON)': install it (Debian, Ubuntu: apt install python3 python3-venv), or name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "this Python lacks the venv module: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The package is not installed but found where it lies, so that an edit counts at once.
$(VENV)/run.stamp: requirements.lock | $(BIN)/slidemill
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --require-hashes -r $<
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "slidemill.pth").write_text("$(CURDIR)/scripts\n")'
	@touch $@

$(BIN)/slidemill: | $(VENV)/bin/python
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m slidemill "$$@"\n' > $@
	@chmod +x $@

# The tools for tests come on top of what runs need, in the same environment.
$(VENV)/test.stamp: requirements-test.lock $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --require-hashes -r $<
	@touch $@
