# Each word does its own set-up in .venv; `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
BIN := .venv/bin
# Two processes, each with whole modules: what a module compiles is compiled once. One that dies ends the run.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0
# What installs a package of the system.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# How long a soak takes.
SECONDS ?= 600

.PHONY: demo demo-service test test-fast test-ui soak lint bench tutorial docs dist clean

demo: .venv/core
	@BGSIM=$(BIN)/bgsim sh examples/demo.sh

# The HTTP service and its page, with jobs at work; it prints the address.
demo-service: .venv/service
	@$(BIN)/python examples/service/demo.py

test: .venv/test
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: .venv/test
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# Kernels of Jupyter, JupyterLab, marimo and the service's page in Chromium; windows of Qt and Tk; pictures are in .screens. nbclient leaves its sockets
# to the garbage collector, which may come in any test.
test-ui: .venv/ui-test .venv/ipykernel6 /usr/bin/chromium /usr/bin/Xvfb
	$(BIN)/python -m pytest tests/browser -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning
	QT_API=pyside6 $(BIN)/python -m pytest tests/desktop
	QT_API=pyqt6 $(BIN)/python -m pytest tests/desktop -k qt

soak: .venv/test
	rm -rf .soak
	mkdir .soak
	$(BIN)/python tests/support/soak_crashes.py .soak --seconds $(SECONDS)

lint: .venv/lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/vulture

bench: .venv/bench
	$(BIN)/python -m benchmarks

# Runs the notebooks of docs/tutorial again, in place.
tutorial: .venv/ui-test
	rm -f docs/tutorial/*.db* docs/tutorial/*.nc
	$(BIN)/jupyter execute --inplace docs/tutorial/*.ipynb

docs: .venv/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'To read it: $(BIN)/python -m http.server -d site 8000, then open http://127.0.0.1:8000'

# A wheel and an archive of the sources, from which it is built.
dist: .venv/dist
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf .venv .demo .screens .soak dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

# The kernel before ipykernel 7, beside it: all else that it needs is there.
.venv/ipykernel6: .venv/ui-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $@ "ipykernel>=6.29,<7"
	@touch $@

# Debian's, for Playwright's own is for no package manager to find.
/usr/bin/chromium:
	$(SUDO) apt-get update --quiet --quiet
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends chromium

# A screen in memory, and what Qt's wheels expect of the system. Tk comes with Python.
/usr/bin/Xvfb:
	$(SUDO) apt-get update --quiet --quiet
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends \
		xvfb xauth fonts-dejavu-core libdbus-1-3 libegl1 libfontconfig1 libgl1 libglib2.0-0 libxcb-cursor0 libxcb-icccm4 \
		libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 \
		libxkbcommon-x11-0 libxkbcommon0

.venv/%: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	@touch $@
