# A thin front: everything is done by CMake, CTest and the scripts that are named here.
BUILD := build
JOBS := $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local

.DEFAULT_GOAL := build
.PHONY: build demo test check format install clean help setup

build: setup ## build the program (build/reformer) and the library beside it
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	@cmake --build $(BUILD) --parallel $(JOBS) --target reformer program

setup: ## install what building needs, where something is missing
	@scripts/setup

demo: build ## train a small model on a real book and write with it
	@scripts/demo

test: build ## run every fast test
	@cmake --build $(BUILD) --parallel $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS)

check: build ## lint, budgets and documents (installs the linters)
	@scripts/setup --ci
	@scripts/lint
	@cmake --build $(BUILD) --parallel $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure --tests-regex '^house_'

format: ## lay out every source as clang-format wants it
	@scripts/lint --fix

install: build ## install into PREFIX (default /usr/local)
	@cmake --build $(BUILD) --parallel $(JOBS)
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove what was built
	@cmake -E rm -rf $(BUILD) build-debug build-sanitize build-coverage build-fuzz build-cuda

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' Makefile
