# One word for each thing done with the house. `make help` lists them; the scripts stand in .ci/.
# Every target that builds runs `setup` first, which installs what the machine lacks and is silent
# and instant where nothing is lacking.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench sanitize fuzz arm docs format lint

EPOCHS ?= 5
SECONDS_EACH ?= 60
BENCH ?= report --output Benchmarks/results --seconds 0.5

help: ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

setup: ## install what is missing: libomp, zlib, libpng, libjpeg, libonig, the Fashion-MNIST data set
	@.ci/setup

demo: setup ## build for release and train on Fashion-MNIST for five epochs
	swift build -c release --product apus
	$$(swift build -c release --show-bin-path)/apus train fashion-mnist --epochs $(EPOCHS)

test: setup ## lint, build without a warning, and run every test
	@.ci/test

check: setup ## the developer's loop: build, then what fails most often, in under a minute
	@.ci/check

bench: setup ## measure everything into Benchmarks/results (BENCH="gemm --shape 512x512x512" for less)
	@echo "building for release, then: apus bench $(BENCH)$(if $(APUS_PEERS_PYTHON), --peers)"
	@echo "$(if $(APUS_PEERS_PYTHON),beside PyTorch and JAX,without PyTorch and JAX: set APUS_PEERS_PYTHON to compare with them)"
	swift build -c release --product apus
	$$(swift build -c release --show-bin-path)/apus bench $(BENCH)$(if $(APUS_PEERS_PYTHON), --peers)

sanitize: setup ## the C kernels' tests under AddressSanitizer, UBSan and ThreadSanitizer
	@.ci/sanitize

fuzz: setup ## random files, texts, graphs and arguments, SECONDS_EACH (60) for each test, sanitized
	@.ci/fuzz $(SECONDS_EACH)

arm: setup ## the C kernels on arm64, emulated: the same bits as here
	@.ci/arm64

docs: setup ## the documentation of every module, the guides in that of Apus
	@.ci/docs

format: ## rewrite the sources in the house's format
	@.ci/format --write

lint: ## complain about what `make format` would rewrite
	@.ci/format --check
