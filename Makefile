# make env · make demo · make test · make prove · make bench · make lint

PYTHON ?= .venv/bin/python
BOOTSTRAP ?= python3
export PYTHONPATH := $(CURDIR)

.PHONY: env demo test test-core test-comfy test-browser prove bench lint

env:
	@$(BOOTSTRAP) tools/bootstrap.py

demo: env
	@$(PYTHON) -m tools.demo $(if $(REFERENCE),--reference "$(REFERENCE)") $(if $(PROMPT),--prompt "$(PROMPT)")

test: env lint test-core test-comfy test-browser

test-core:
	$(PYTHON) -m pytest tests/core

# These run in processes of their own: their path starts with ComfyUI, not with this repository.
test-comfy:
	PYTHONPATH= $(PYTHON) -m pytest -c tests/comfy/pytest.ini tests/comfy

test-browser:
	PYTHONPATH= $(PYTHON) -m pytest -c tests/comfy/pytest.ini tests/browser

prove: env
	HYPOTHESIS_PROFILE=prove $(PYTHON) -m pytest tests/core
	PYTHONPATH= HYPOTHESIS_PROFILE=prove $(PYTHON) -m pytest -c tests/comfy/pytest.ini tests/comfy

bench: env
	@$(PYTHON) -m benchmarks

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
