# make setup   .venv with everything, pinned by constraints.txt   (PYTHON=/path/to/python3.11 to choose the interpreter)
# make demo    setup, then the whole job on the real ROS graph    (ARGS="..." for the options of vd_policy demo)
# make test    setup, then ruff, mypy and every test              (ARGS="..." for pytest)
# make bench   setup with the peers to compare with, then the benchmarks
# make clean   remove what builds and tests left behind; make distclean removes .venv too

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .venv/.installed-bench
PINS := setup.py setup.cfg pyproject.toml constraints.txt
# the variable, unlike -c, also pins what pip fetches to build the package itself
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/pip --disable-pip-version-check

.PHONY: setup demo test bench clean distclean

setup: $(STAMP)

$(STAMP): $(PINS)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "make setup: Python is $$("$(PYTHON)" -V 2>&1); allowed: 3.11, the last that PyBullet has wheels for;" \
	       "fix: install python3.11, or make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@echo "installing ROS 2 Jazzy, torch and the rest into .venv (about 2 GB; a minute or two)"
	@$(PIP) install --quiet --editable '.[ros,export,test]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@$(PIP) install --quiet --editable '.[ros,export,test,bench]'
	@touch $@

demo: setup
	@$(BIN)/vd_policy demo $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile $(ARGS)

bench: $(BENCH_STAMP)
	@$(BIN)/vd_policy bench $(ARGS)

clean:
	rm -rf build install log dist .pytest_cache .ruff_cache .mypy_cache *.egg-info
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv
