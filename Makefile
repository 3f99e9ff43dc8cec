# Everything a user or a contributor runs. `make` alone prints the list.
#
# One virtual environment, .venv, serves all targets. A stamp in it records each set of extras
# that is installed, so that a second call installs nothing until pyproject.toml changes.

VENV    ?= .venv
OUT     ?= out
# The first interpreter on the path that is new enough; `make PYTHON=...` chooses another.
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
             $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Extra with the libraries of the GPU: cuda13 or cuda12
CUDA    ?= cuda13
# Processes of `make test` and `make placement`, each of whose tests uses threads as well
JOBS    ?= 2
# Extra arguments of pytest: make test ARGS="-k filters"
ARGS    ?=

# Whole networks of PyTorch
NETWORKS := tests/gradient/test_torch_networks.py tests/network/test_export.py

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check
# kernels/ and models/ at the top are links into sobolevflow/: naming them would check files twice.
CHECKED := sobolevflow tests $(if $(wildcard bench/*.py),bench)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test networks libraries keras kernels placement test-gpu full rooms lint format package clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.has-cpu  ## visualize the bundled network; the pictures go to out/
	$(BIN)/sobolevflow demo -o $(OUT)/
	@echo "The picture is $(abspath $(OUT))/demo.png"

test: $(VENV)/.has-test  ## run the tests (ARGS="..." goes to pytest)
	$(BIN)/python -m pytest -ra -n $(JOBS) --dist worksteal $(ARGS)

networks: $(VENV)/.has-bench  ## compare fourteen architectures and the exporters with PyTorch, and maps with Captum's
	$(BIN)/python -m pytest -ra tests/test_peers.py $(NETWORKS) $(ARGS)

libraries: $(VENV)/.has-bench  ## run every public function on arrays of PyTorch, JAX and array-api-strict
	$(BIN)/python -m pytest -ra tests/arrays $(ARGS)

keras: .venv-keras/.made  ## compare the gradients of five networks of Keras with TensorFlow's
	.venv-keras/bin/python -m pytest -ra tests/gradient/test_keras_networks.py $(ARGS)

placement: $(VENV)/.has-bench .venv-cuda/.made  ## ask the CUDA provider, without a GPU, whether it runs every node
	$(BIN)/python -m pytest -ra -n $(JOBS) --dist worksteal tests/devices/test_placement.py $(ARGS)

kernels: $(VENV)/.has-test  ## run the kernels for CUDA in Numba's simulator, and compile them, without a GPU
	$(BIN)/python -m pytest -ra tests/kernels/test_cuda.py $(ARGS)

test-gpu: .venv-gpu/.made  ## run the tests that need an NVIDIA GPU (CUDA=cuda12 where the driver is older)
	.venv-gpu/bin/python -m pytest -ra -m gpu $(ARGS)

full: $(VENV)/.has-bench .venv-cuda/.made  ## what takes hours: mutated files, a million calls from threads; results in tests/full/
	$(BIN)/python -m pytest -ra -m thorough $(NETWORKS) $(ARGS)
	$(BIN)/python -m pytest -ra -n $(JOBS) --dist worksteal -m thorough $(NETWORKS:%=--ignore %) $(ARGS)
	for each in $$(ls tests/full/*.py | grep -v __init__); do \
	  $(BIN)/python -m tests.full.$$(basename $$each .py) || exit 1; done

rooms: $(VENV)/.made  ## print the rooms of the package, floor by floor, and who imports from whom
	$(BIN)/python tests/support/imports.py

lint: $(VENV)/.has-dev  ## ruff check, ruff format --check, mypy --strict
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy --strict $(CHECKED)

format: $(VENV)/.has-dev  ## let ruff sort the imports and lay out the code
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

package: $(VENV)/.has-dev  ## build sdist and wheel, install each into an empty environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tests/package/check_distributions.py dist

clean:  ## remove .venv and everything that was built
	rm -rf .venv .venv-cuda .venv-gpu .venv-keras build dist out .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find sobolevflow tests -name __pycache__ -prune -exec rm -rf {} +

# The install is editable for every target: one copy of the code, never a stale one.
$(VENV)/.has-cpu: EXTRAS := cpu
$(VENV)/.has-test: EXTRAS := cpu,test
$(VENV)/.has-dev: EXTRAS := cpu,test,dev
$(VENV)/.has-%: $(VENV)/.made pyproject.toml
	$(PIP) install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

# Without their dependencies: torchvision asks for a build of torch with CUDA, the others for torchvision,
# for an older NumPy, or for what they do not need here.
$(VENV)/.has-bench: $(VENV)/.has-test
	$(PIP) install --quiet --editable '.[cpu,test,bench]'
	$(PIP) install --quiet --no-deps torchvision==0.28.0 onnx2torch==1.5.15 timm==1.0.31 \
	  captum==0.9.0 grad-cam==1.5.7 ttach==0.0.3 torch-lucent==0.1.8
	@touch $@

# TensorFlow has its own idea of what it wants beside it.
.venv-keras/.made: $(VENV)/.made pyproject.toml
	test -x .venv-keras/bin/python || $(BIN)/python -m venv .venv-keras
	.venv-keras/bin/python -m pip --disable-pip-version-check install --quiet --editable '.[cpu,test]' tensorflow-cpu tf2onnx
	@touch $@

# onnxruntime-gpu overwrites onnxruntime, so it lives apart; without its extras it brings no CUDA.
.venv-cuda/.made: $(VENV)/.made
	$(BIN)/python -m venv .venv-cuda
	.venv-cuda/bin/python -m pip --disable-pip-version-check install --quiet "onnxruntime-gpu>=1.28"
	@touch $@

# Has CuPy and onnxruntime-gpu, which would overwrite onnxruntime.
.venv-gpu/.made: $(VENV)/.made pyproject.toml
	test -x .venv-gpu/bin/python || $(BIN)/python -m venv .venv-gpu
	.venv-gpu/bin/python -m pip --disable-pip-version-check install --quiet --editable '.[$(CUDA),test]'
	@touch $@

$(VENV)/.made:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sobolevflow needs Python 3.11 or newer, and $(if $(PYTHON),'$(PYTHON)' is not one,none was found on the path)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot create virtual environments: its module venv or ensurepip is missing." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
