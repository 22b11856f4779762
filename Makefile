# make env · make demo · make test · make prove · make bench · make lint · make types
#
# COMFYUI_PATH=folder   use that ComfyUI            SLOTID_VENV=folder   use that environment
# REFERENCE=clip.mp4 PROMPT="..."   for make demo   NEWEST_COMFYUI=folder   for make prove

BOOTSTRAP ?= python3
SLOTID_VENV ?= .venv
PYTHON := $(SLOTID_VENV)/bin/python
export SLOTID_VENV
export PYTHONPATH := $(CURDIR)

.PHONY: env demo test test-core test-page test-comfy test-browser prove newest-page bench lint types

env:
	@$(BOOTSTRAP) tools/bootstrap.py

demo: env
	@$(PYTHON) -m tools.demo $(if $(REFERENCE),--reference "$(REFERENCE)") $(if $(PROMPT),--prompt "$(PROMPT)")

test: env
	@$(MAKE) --no-print-directory lint types test-core test-page test-comfy test-browser

# One process a core, with one thread each: small tensors gain nothing from a second thread.
test-core:
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests/core -n auto --dist loadfile

# The page's logic, which needs no browser.
test-page:
	@if command -v node >/dev/null; then node --test tests/page/*.test.mjs; \
	else echo "No Node.js on this machine: the tests of the page's logic are left out."; fi

# These run in processes of their own: their path starts with ComfyUI, not with this repository.
test-comfy:
	OMP_NUM_THREADS=1 PYTHONPATH= $(PYTHON) -m pytest -c tests/comfy/pytest.ini tests/comfy -n auto --dist loadfile

test-browser:
	OMP_NUM_THREADS=1 PYTHONPATH= $(PYTHON) -m pytest -c tests/comfy/pytest.ini tests/browser

# What is too slow for every change: the package index, work on many processes, the pack as Manager and the registry
# install it, the wheel in a bare environment, an attack on the whole pack, and a second ComfyUI in an environment of
# its own.
prove: test
	$(PYTHON) -m tools.check_requirements
	$(PYTHON) -m pytest tests/core -m slow
	$(PYTHON) -m tests.attack
	PYTHONPATH= $(PYTHON) -m pytest -c tests/comfy/pytest.ini tests/comfy -m slow -s
	SLOTID_MORE_EXAMPLES=20 $(PYTHON) -m pytest --timeout 1200 $$(grep -l 'examples(' tests/core/test_*.py)
ifdef NEWEST_COMFYUI
	COMFYUI_PATH="$(NEWEST_COMFYUI)" $(MAKE) SLOTID_VENV=.cache/newest env test-comfy test-browser newest-page
	COMFYUI_PATH="$(NEWEST_COMFYUI)" $(MAKE) SLOTID_VENV=.cache/newest test-browser
else
	@echo "With NEWEST_COMFYUI=folder the server and browser tests also run against that ComfyUI."
endif

# The newest page that the package index has, in place of the one that the ComfyUI asks for.
newest-page:
	$(PYTHON) -m pip install --quiet --upgrade --no-deps comfyui-frontend-package

bench: env
	@$(PYTHON) -m benchmarks

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m codespell_lib
	$(PYTHON) -m tools.check_sizes

# pyright's errors by folder: none in the clean folders, elsewhere no more than before.
types:
	$(PYTHON) -m tools.check_types --show
