# Every target installs what it needs into .venv, once. Each step writes a stamp file when it is complete. A step runs
# again if its inputs are newer than its stamp, or if it was interrupted and left no stamp.

# The first of these that is Python 3.11 or newer and has the modules venv and ensurepip is used.
PYTHON ?= python3.11 python3.12 python3.13 python3
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

VENV   := .venv
BIN    := $(VENV)/bin
TOOLS  := $(VENV)/tools.stamp
LOCAL  := $(VENV)/local.stamp
DEV    := $(VENV)/dev.stamp

UV      := UV_SYSTEM_CERTS=1 $(BIN)/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
COMPILE := $(UV) pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
           --generate-hashes --no-header --no-emit-index-url $(if $(UPGRADE),--upgrade)
SBOM    = PYTHONWARNINGS=ignore $(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements/$(1).txt \
          --pyproject pyproject.toml --output-reproducible --output-file dist/$(2).json && echo dist/$(2).json

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SILENT:
.PHONY: help demo test test-fast test-slow lint lock audit sbom schema docs demo-data clean

help: ## print this list
	sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(LOCAL) ## label 32 tracks end to end on embedded servers; AUDIO=dir adds the audio files of a folder
	$(BIN)/cogenre demo $(if $(AUDIO),--audio "$(AUDIO)")

# The targets that start many Python processes need cached bytecode: compiling torch and transformers at each start
# takes longer than most tests. An empty value overrides an environment that turns the cache off.
demo test test-fast test-slow: export PYTHONDONTWRITEBYTECODE :=

# Three processes share the CPUs, so more than one torch thread in each would be slower.
test: lint ## run lint, then every test that is not marked slow
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 3 --dist loadfile

test-fast: $(DEV) ## run the tests that need neither servers nor torch, in under a minute
	OMP_NUM_THREADS=1 $(BIN)/pytest --fast -n 2 --dist worksteal

test-slow: $(DEV) ## run the tests that take minutes
	$(BIN)/pytest -m slow

lint: $(DEV) ## run ruff, mypy --strict and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(TOOLS) ## write requirements/*.txt from pyproject.toml; UPGRADE=1 selects the newest versions
	$(COMPILE) pyproject.toml --extra analyse --extra local --extra otel --extra train --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --extra local --constraints requirements/dev.txt --output-file requirements/local.txt
	$(COMPILE) pyproject.toml --constraints requirements/dev.txt --output-file requirements/worker.txt
	$(COMPILE) pyproject.toml --extra gpu --excludes requirements/worker-gpu.excludes \
		--constraints requirements/dev.txt --output-file requirements/worker-gpu.txt
	$(COMPILE) --group build --constraints requirements/dev.txt --output-file requirements/build.txt

audit: $(TOOLS) ## list known vulnerabilities in the packages of a worker
	UV_SYSTEM_CERTS=1 $(BIN)/python deploy/audit.py requirements/worker.txt requirements/worker-gpu.txt

sbom: $(TOOLS) ## write dist/sbom.json and dist/sbom-gpu.json: the packages of a worker, as CycloneDX
	mkdir -p dist
	$(call SBOM,worker,sbom)
	$(call SBOM,worker-gpu,sbom-gpu)

schema: $(LOCAL) ## write the JSON Schema of the job from schemas/jobs.py
	$(BIN)/python -m schemas.jobs

docs: $(LOCAL) ## write docs/metrics.md and docs/settings.md from worker/observe/metrics.py and the settings classes
	$(BIN)/python -m worker.observe.reference

demo-data: $(DEV) ## synthesise the demo tracks and train the demo bundle again
	$(BIN)/python deploy/demo/make_data.py

clean: ## remove .venv and all caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment and its installer. Without a stamp an existing environment is incomplete, so it is cleared.
$(TOOLS): requirements/build.txt
	for candidate in $(PYTHON); do \
		if $$candidate -c '$(USABLE)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "cogenre needs Python 3.11 or newer with its venv module; none of these has it: $(PYTHON)." \
			"Install one, or name yours: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "creating $(VENV) with $$($$python --version)"; \
	if [ -e $@ ]; then rm $@; clear=; else clear=--clear; fi; \
	$$python -m venv $$clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	touch $@

# $(call install,requirements file) installs its pins and, editable, this project. After an interrupted installation
# a package can look installed although files are missing, hence --reinstall.
define install
	echo "installing $(1)"
	reinstall=; [ -e $(LOCAL) ] || reinstall=--reinstall; \
	rm -f $(LOCAL) $(DEV); \
	$(INSTALL) $$reinstall --require-hashes -r $(1)
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $(LOCAL)
endef

$(LOCAL): $(TOOLS) requirements/local.txt pyproject.toml
	$(call install,requirements/local.txt)

# dev.txt contains all pins of local.txt.
$(DEV): $(TOOLS) requirements/dev.txt pyproject.toml
	$(call install,requirements/dev.txt)
	touch $@
