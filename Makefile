# Two commands for a fresh clone: `make demo` and `make test`. They need Python >= 3.11, make and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= output/hmumu
DOCS_ANALYSES ?= hmumu hmumu_systematics
# OpenMP threads that spin while they wait starve each other on a busy machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo demo-announced test quick lint docs docs-figures clean

demo: demo-announced $(VENV)/.installed
	$(BIN)/zsig run analyses/hmumu --output $(OUTPUT)
	@echo "The report is $(CURDIR)/$(OUTPUT)/report/report.html"

demo-announced:
	@echo "The search for H -> mumu in vector-boson fusion on the samples in data_samples/, in three steps:"
	@echo "  1. a virtual environment in $(VENV) with torch and everything the report shows (one to five minutes, once);"
	@echo "  2. two trainings of ten networks, the choice of the cuts, exports and figures (about a minute on two cores);"
	@echo "  3. the report in $(OUTPUT)/report/report.html."

# Two processes, whose threads would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: $(VENV)/.installed-test
	$(PYTEST)

# Without what runs whole pipelines, trains for long, or starts clusters and notebooks.
quick: $(VENV)/.installed-test
	$(PYTEST) -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell zsig_hep analyses tests data_samples docs README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/mypy
	$(BIN)/lint-imports

# Figures that pages show are drawn by `docs-figures`; without them the pages name that command.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/_build
	@echo "The documentation is $(CURDIR)/docs/_build/index.html"

docs-figures: $(VENV)/.installed
	for analysis in $(DOCS_ANALYSES); do \
	  $(BIN)/zsig run analyses/$$analysis --output docs/_figures/output/$$analysis && \
	  mkdir -p docs/_figures/$$analysis && \
	  cp docs/_figures/output/$$analysis/report/figures/*.png docs/_figures/$$analysis/ || exit 1; \
	done

# torch first and alone: resolved together with others, pip may prefer a newer build with gigabytes of CUDA.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || (echo "zsig_hep needs Python >= 3.11: make PYTHON=python3.11 $(MAKECMDGOALS)" && false)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[fit,onnx]"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-docs: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) output docs/_build docs/_figures docs/analyses docs/api .pytest_cache .mypy_cache .ruff_cache .hypothesis
