# What a fresh machine needs: Rust, a C++ compiler, Python 3 with pip and venv. Everything else is fetched.
#
# Kept outside the checkout, in $XDG_CACHE_HOME/yf (~/.cache/yf): libtorch (500 MB), and the Python that the
# tests ask for second opinions. One profile, --release, serves builds and tests: the C++ bindings of libtorch
# take minutes to compile and are compiled once.

SHELL := /bin/bash
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/yf
LIBTORCH_FOLDER := $(or $(YF_LIBTORCH_HOME),$(CACHE)/libtorch-2.11.0)
VENV := $(CACHE)/python
TARGET := $(or $(CARGO_TARGET_DIR),target)

# torch-sys compiles again whenever this path changes.
export LIBTORCH := $(LIBTORCH_FOLDER)/torch
# Tests run side by side: libtorch's threads must not spin while they wait.
export OMP_WAIT_POLICY ?= PASSIVE
export YF_PYTHON ?= $(VENV)/bin/python
ifneq ($(wildcard ../shared),)
export YF_SHARED ?= $(abspath ../shared)
endif

.PHONY: help build test demo cuda libtorch python lint bench bench-fusions clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

build: libtorch ## target/release/yf, and yf-train beside it
	cargo build --release -p yf -p yf-train

test: libtorch python ## Every test; builds both programs for it
	cargo test --release --workspace

demo: build ## The whole road once, on a synthetic data set: train, validate, export, infer
	python3 scripts/demo.py --yf $(TARGET)/release/yf

cuda: ## The CUDA half of libtorch (2.7 GB), which training on a GPU needs
	python3 scripts/libtorch.py --cuda

libtorch: ## The part of libtorch that compiling and training on a CPU need (500 MB)
	@python3 scripts/libtorch.py > /dev/null

python: ## A Python with onnx, onnxruntime, TensorRT-RTX and pycocotools, for the tests
	@cmp -s scripts/requirements.txt $(VENV)/requirements.txt || ( set -e; \
	  python3 -m venv $(VENV); \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt; \
	  cp scripts/requirements.txt $(VENV)/requirements.txt )

lint: libtorch ## rustfmt, clippy and rustdoc, warnings as errors
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --document-private-items

bench: build ## Milliseconds a stage, of training and of inference, on what `make demo` left
	@test -d demo || { echo "run make demo first: it makes the pairs and the model" >&2; exit 1; }
	cd demo && $(abspath $(TARGET))/release/yf bench train --data pairs/data.yaml --imgsz 256 --steps 10
	cd demo && $(abspath $(TARGET))/release/yf bench infer

bench-fusions: python ## Parameters, operations, ONNX nodes and CPU milliseconds of every network, as a table (minutes)
	cargo build --release -p yf
	python3 scripts/fusions.py --yf $(TARGET)/release/yf

clean: ## What was built here; the caches outside the checkout stay
	cargo clean
	rm -rf demo
