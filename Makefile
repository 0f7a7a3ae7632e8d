# What one types every day; each target is one or two commands that can be typed by hand as well.
#
#   make lint          the linters and the type checker, all of them even when one fails
#   make fix           what the linters can mend by themselves
#   make test          every check, and the tests that need no virtual machine and are quick
#   make vm            every check and test
#   make t T=tests/unit/plan      the inner loop: these tests only
#   make stress T=tests/unit/plan/test_planner.py    these tests fifty times beside a busy CPU, until one fails

BIN := .venv/bin
T ?= tests/unit

.PHONY: help lint fix test vm t stress

help:
	@sed -n 's/^#   //p' Makefile

lint: $(BIN)/aibemu
	./test.sh --lint

fix: $(BIN)/aibemu
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test:
	./test.sh --fast

vm:
	./test.sh

t: $(BIN)/aibemu
	$(BIN)/python -m pytest -q -m "not vm and not bench" $(T)

stress: $(BIN)/aibemu
	$(BIN)/python -m tests.tools.stress $(T)

# The first time: what the tests need is installed.
$(BIN)/aibemu:
	./test.sh --setup-only
