# Targets set themselves up from python3.11, g++, make and perl; everything else comes from PyPI into .venv.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TYPED  := $(VENV)/typed
# Most of the time goes to compiling and simulating testbenches, one thread each.
PYTEST := $(BIN)/python -m pytest --numprocesses=logical
SAMPLES ?= 100
BOARD ?= ulx3s-85f

.DEFAULT_GOAL := help
.PHONY: help venv sim netlist-sim test test-full formal bitstream lint docs pictures wheel lock clean

help: ## print this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'

$(READY): requirements-dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) must be on PATH; install it or set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

venv: $(READY) ## make .venv with the pinned tools and systolith in it

sim: $(READY) ## run the RTL testbenches, then classify digits on the RTL and check every byte
	$(PYTEST) sim/tb -m "not slow"
	$(BIN)/python -m systolith.examples.digits --device rtl --samples $(SAMPLES)

netlist-sim: $(READY) ## classify digits on the netlist that synthesis for ECP5 makes, and check every byte
	$(BIN)/python -m systolith.examples.digits --device netlist --preset tiny --samples $(SAMPLES)

test: $(READY) ## run the tests that take seconds
	$(PYTEST) -m "not slow"

test-full: $(READY) ## run every test
	$(PYTEST)

formal: $(READY) ## prove the properties of the gateware
	$(PYTEST) tests/formal

bitstream: $(READY) ## build the bitstream of BOARD and draw its floorplan
	mkdir -p build/$(BOARD)
	$(BIN)/systolith build --board $(BOARD) -o build/$(BOARD) --floorplan build/$(BOARD)/floorplan.png

lint: $(READY) ## check style and types
	$(BIN)/ruff check .
	mkdir -p $(TYPED) && ln -sfn ../.. $(TYPED)/systolith
	MYPYPATH=$(TYPED) $(BIN)/mypy $(addprefix -p systolith.,$(wildcard hw sim host models examples))

docs: $(READY) ## rewrite the generated tables in docs/
	$(BIN)/python -m systolith.host.docs

pictures: $(READY) ## make the pictures of docs/ (needs chromium and chromium-driver)
	$(BIN)/python -m docs.pictures

wheel: $(READY) ## build dist/*.whl
	rm -rf build/lib build/bdist.* dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

lock: ## pin in requirements-dev.txt what pyproject.toml resolves to today
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/python -m pip install --quiet ".[test,lint]"
	{ echo "# Exact versions for development and CI; written by \`make lock\`."; \
	  build/lock/bin/python -m pip freeze --all --exclude systolith --exclude pip; } > requirements-dev.txt

clean: ## remove everything that was made here, .venv included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis sim_build results.xml
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
