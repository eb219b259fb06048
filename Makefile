# One command for each thing that one does here; `.ci/run` calls the same ones.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BIN := $(VENV)/bin
# Every tool in the version that the project was tested with, whoever asks for it.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# PyO3 and maturin build for this interpreter, and cargo does not rebuild when another stands first on PATH.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -type f \( -name '*.rs' -o -name '*.toml' \))
TSAN_TARGET := $(shell uname -m)-unknown-linux-gnu
PYTEST := $(BIN)/python -m pytest
# Those that build beside those that mostly wait.
TORTURES := kafka asan kills tsan agents fuzz faults loom power flood sinks disk

.PHONY: ci-tools help build demo test test-free-threaded test-rust test-python test-python-kafka test-python-rest lint lint-rust lint-python bench torture docs clean toolchain fuzz $(TORTURES:%=torture-%)

help: ## what one can ask for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# --- building -------------------------------------------------------------------------------------------------------

# What pip and cargo cannot bring: a Python, a Rust toolchain, and of the system a linker and `venv`.
toolchain:
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or later, or say make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11; say make PYTHON=…" >&2; exit 1; }
	@command -v $(CARGO) >/dev/null || { echo "make: no $(CARGO) here; install a Rust toolchain (rustup), or say make CARGO=…" >&2; exit 1; }
	@missing=(); \
	command -v cc >/dev/null || missing+=(build-essential); \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv); \
	if (($${#missing[@]})); then \
	    if command -v apt-get >/dev/null && [[ $$(id -u) = 0 ]]; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$${missing[@]}" >/dev/null; \
	    else \
	        echo "make: the system lacks $${missing[*]}; install it and try again" >&2; exit 1; \
	    fi; \
	fi

$(BIN)/python: | toolchain
	$(PYTHON) -m venv $(VENV)

# The tools of development, and the extras, without auditring itself.
$(VENV)/.tools: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# The package lies in the environment by reference, so Python sources are always the present ones; the Rust core is
# built anew when anything that it is made of has changed.
$(VENV)/.built: $(RUST_SOURCES) $(VENV)/.tools
	PIP_QUIET=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked --quiet --extras cli,query,demo
	touch $@

build: $(VENV)/.built ## .venv with the release build installed

$(VENV)/.bench: $(VENV)/.built
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

# --- doing ----------------------------------------------------------------------------------------------------------

demo: build ## watch a Kafka proxy being audited, then ask DuckDB (ARGS="--http", ARGS="--firehose 1000000")
	$(BIN)/auditring demo $(ARGS)

# Two builds of which each ends in a link that one core alone can do, so side by side.
test: ## everything that is quick: Rust and Python
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-rust build ci-tools
	$(MAKE) --no-print-directory test-python

# Without make's flags: rustdoc warns of a jobserver that it was told of and is not given.
test-rust: $(BIN)/python
	MAKEFLAGS= $(CARGO) test --workspace --locked --quiet

# Prometheus, with its checker of metrics and rules, a tailer of lines, what makes system calls fail and file systems in
# files, what sets a program's clock,
# and what fetches and runs a real Kafka: on a user's
# machine their tests skip and say why, in CI they must run.
ci-tools: | toolchain
	@if [[ "$${CI:-}" = true ]] && command -v apt-get >/dev/null && [[ $$(id -u) = 0 ]]; then \
	    missing=(); \
	    command -v promtool >/dev/null && command -v prometheus >/dev/null || missing+=(prometheus); \
	    command -v strace >/dev/null || missing+=(strace); \
	    command -v faketime >/dev/null || missing+=(faketime); \
	    command -v java >/dev/null || missing+=(default-jre-headless); \
	    command -v mvn >/dev/null || missing+=(maven); \
	    command -v openssl >/dev/null || missing+=(openssl); \
	    command -v systemd-analyze >/dev/null || missing+=(systemd); \
	    command -v mkfs.ext4 >/dev/null || missing+=(e2fsprogs); \
	    [[ -n "$$(compgen -G '/usr/lib/*/rsyslog/omrelp.so')" ]] || missing+=(rsyslog rsyslog-relp); \
	    if (($${#missing[@]})); then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null; \
	    fi; \
	fi

# Tests before a real Kafka mostly wait for it, so they run beside the others, and what each prints comes when it ends.
test-python: build ci-tools
ifdef ARGS
	$(PYTEST) --quiet $(ARGS)
else
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-python-kafka test-python-rest
endif

test-python-kafka:
	$(PYTEST) --quiet -p no:cacheprovider tests/kafka

# Many of these wait, too, for processes that they start or for moments: two at a time, a file in one place.
test-python-rest:
	$(PYTEST) --quiet --numprocesses 2 --dist loadfile --ignore tests/kafka

# An interpreter without a GIL has another ABI, so its build lies in an environment and a target directory of its own. The
# tests are those of the core: what asks DuckDB, which has no wheel for it, cannot run there. `UNSAFE_PYO3_SKIP_VERSION_CHECK=1`
# lets PyO3 build for 3.13t, which it has left.
PYTHON314T ?= python3.14t
VENV_FT := .venv-ft
FREE_THREADED := tests/test_free_threaded.py tests/test_lanes.py tests/test_handles.py tests/test_declared.py tests/test_log.py
test-free-threaded: ## the core's tests on an interpreter without a GIL (PYTHON314T=…)
	@command -v $(PYTHON314T) >/dev/null || { echo "make: no $(PYTHON314T) here; build CPython 3.14 or later with ./configure --disable-gil, then say make test-free-threaded PYTHON314T=…" >&2; exit 1; }
	@$(PYTHON314T) -c 'import sysconfig; raise SystemExit(not sysconfig.get_config_var("Py_GIL_DISABLED"))' || { echo "make: $(PYTHON314T) has a GIL" >&2; exit 1; }
	test -x $(VENV_FT)/bin/python || $(PYTHON314T) -m venv $(VENV_FT)
	$(VENV_FT)/bin/python -m pip install --quiet maturin pytest pytest-asyncio prometheus-client pyarrow zstandard
	PYO3_PYTHON=$(CURDIR)/$(VENV_FT)/bin/python CARGO_TARGET_DIR=$(CURDIR)/target/free-threaded VIRTUAL_ENV=$(CURDIR)/$(VENV_FT) \
	    $(VENV_FT)/bin/maturin develop --release --locked --quiet
	$(VENV_FT)/bin/python -m pytest --quiet -p no:cacheprovider $(FREE_THREADED)

lint: ## formatting, clippy, ruff, mypy, the stubs and the page of events against the binary
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-rust lint-python

lint-rust: $(BIN)/python
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings

lint-python: build
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest auditring._core
	$(BIN)/python docs/generate.py --check

torture: build ci-tools ## what takes patience, in short forms: models, sanitizers, hostile files, kill -9, power cuts, failing calls, floods, full disks, a Kafka that is away
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(TORTURES:%=torture-%)

# Each has a target directory of its own, so that other flags do not throw away the builds above.
torture-loom: toolchain
	RUSTFLAGS="--cfg loom" $(CARGO) test --package auditring-ring --release --locked --quiet --target-dir target/loom --test loom

# The sanitizer is unstable but works on a stable compiler; only Linux has it for both of our architectures.
torture-tsan: toolchain
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) test --package auditring-ring --locked --quiet --target-dir target/tsan --target $(TSAN_TARGET) --lib --tests

# The tap is shown hostile bytes where a read beyond them would be seen.
torture-asan: toolchain
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) test --package auditring-kafka --locked --quiet --target-dir target/asan --target $(TSAN_TARGET) --lib --tests

# What hostile files may do is seen where a read beyond them, and a number that overflows, end the process. Each input is its
# seed and its number. Where memory was allocated is not remembered call by call: that takes longer than all else. The short
# form ends by the clock, and shares what `torture-asan` has built; the long one is optimised.
FUZZ ?= --inputs 10000000
FUZZ_BUILD ?= --profile fuzz --target-dir target/fuzz
fuzz: toolchain ## ten million hostile files under AddressSanitizer (FUZZ="--seed 7 --only 123" for one of them)
	ASAN_OPTIONS=malloc_context_size=2 \
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) run --package auditring-fuzz --locked --quiet --target $(TSAN_TARGET) $(FUZZ_BUILD) -- $(FUZZ)

torture-fuzz:
	$(MAKE) --no-print-directory fuzz FUZZ="--seconds 20" FUZZ_BUILD="--target-dir target/asan"

# Each life has a seed of its own, which a failure names. The short form ends by the clock, whatever the machine. The Kafka
# proxy is killed once in tests/kafka; KILLS="--host kafka --kills 200" kills it under load.
KILLS ?= --host threads --host uvicorn --seconds 32
torture-kills: build
	$(BIN)/python tests/torture/kills.py $(KILLS)

# Agents that are killed, stopped, doubled and handed sinks to, and hosts that are killed under them.
AGENTS ?= --kills 20 --seconds 24
torture-agents: build
	PYTHONPATH=tests/shared $(BIN)/python tests/torture/agents.py $(AGENTS)

# Power cuts want root, for a file system of their own; elsewhere they say why they are skipped.
POWER ?= --seconds 16
torture-power: build
	$(BIN)/python tests/torture/power.py $(POWER)

# Every system call by every error; the short form is a sample, drawn by a seed that is printed. All of it takes most of an
# hour: FAULTS=.
FAULTS ?= --short
torture-faults: build ci-tools
	$(BIN)/python tests/torture/faults.py $(FAULTS)

# Five lives of so many seconds, on a disk that strace makes slow.
FLOOD ?= --seconds 2
torture-flood: build ci-tools
	$(BIN)/python tests/torture/floods.py $(FLOOD)

# Sinks that hang, raise and crawl, at a journal budget of next to nothing.
SINKS ?= --seconds 16
torture-sinks: build
	$(BIN)/python tests/torture/sinks.py $(SINKS)

# On a tmpfs of 64 MiB, so as root; elsewhere it says why it does nothing.
DISK ?= --rounds 5 --seconds 2
torture-disk: build
	$(BIN)/python tests/torture/disk.py $(DISK)

# A real broker is away for a minute at 20,000 events a second; KAFKA="--seconds 600" is ten of them.
KAFKA ?= --seconds 60
torture-kafka: build ci-tools
	$(BIN)/python tests/torture/kafka_outage.py $(KAFKA)

bench: $(VENV)/.bench ## the tables of README and docs/performance.md
	$(BIN)/python benches/run.py $(ARGS)

docs: build ## rustdoc without warnings; the pages' links are alive and their examples run
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet
	$(PYTEST) --quiet tests/test_docs*.py

clean: ## back to a fresh clone
	rm -rf $(VENV) $(VENV_FT) target build dist .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	rm -f python/auditring/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
