# Developers and CI alike; `make help` says what each target does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
UV := UV_PYTHON_DOWNLOADS=never .tools/bin/uv
# Python processes that tests run in parallel. The slow ones are distributed file by file: an overlay of processes is made
# once for all tests of its file.
WORKERS ?= 2
# Of the slow ones several to a core: they wait for phones and processes most of the time. Their files begin in the order in
# which they are collected, the longest first (tests/conftest.py); by the number of tests those, which have few, would come last.
SLOW_WORKERS ?= 6
SLOW := tests/net tests/interop tests/foreign tests/conform
# What a developer runs all the time: the others are of whole peers, on sockets or in a simulated Internet, and of other programs.
FAST := tests/unit tests/rfc tests/fuzz tests/conform
# `make soak`: how many times as often as on an ordinary day, and which tests try what chance gives them.
EFFORT ?= 20
# And how many seeds of small rings; those that were played before, as .soak says, are not played again.
SEEDS ?= 100000
SOAKED := tests/fuzz tests/conform tests/net/test_disk_kill.py tests/net/test_sim_ice.py \
	tests/net/test_sim_services.py tests/net/test_sim_internet.py tests/net/test_sim_relays.py tests/net/test_sim_eight_peers.py \
	tests/net/test_sim_udp_ceases.py tests/net/test_sim_simultaneous_open.py tests/net/test_sim_back_again.py \
	tests/unit/reload/storage/test_storage_model.py tests/unit/reload/topology/chord/test_routing_table.py

.PHONY: help browser setup dev demo check test fast unslow slow bench fuzz soak conformance transactions deaths nat-pairs ways-of-calls phone-table published-chord lint types imports lock clean
help:
	@echo "make setup   a virtual environment in .venv, with exactly the locked dependencies of p2psip"
	@echo "make dev     the same, and what checks and tests need"
	@echo "make demo    set up, then two phones call each other through five peers (ONCE=1: end afterwards)"
	@echo "make check   dev, lint, type-check, hold the import contract, run the fast tests (a minute)"
	@echo "make test    the same and the slow tests: whole overlays, phones made elsewhere"
	@echo "make bench   measure: codec, SIP, records, disk, forwarding, media, 100 virtual peers, what an idle one costs, 5 real ones (ONLY='codec live': those)"
	@echo "make fuzz    what strangers may send to the one port (STUN, TURN, the demultiplexer), for two minutes (FUZZ_S=600: longer)"
	@echo "make soak    tests of chance $(EFFORT) times as often, and as many demos in a row (EFFORT=50: longer)"
	@echo "make conformance  write docs/conformance.md anew from the marks in tests/rfc"
	@echo "make transactions  write docs/transactions.md anew: the machines of SIP transactions, drawn from their tables"
	@echo "make published-chord  write docs/published-chord.md and its picture anew: how Chord as published loses its ring"
	@echo "make deaths  write the table of docs/when-things-die.md anew: each moment of a call, each victim"
	@echo "make ways-of-calls  write the table of docs/ways-of-calls.md anew: each way, in the simulator"
	@echo "make phone-table  write the table of docs/phones.md anew from tests/interop/phone_features.toml"
	@echo "make nat-pairs  write docs/nat-pairs.md anew: agents behind every pair of NATs (root, nftables)"
	@echo "make browser fetch what the tests of phones in browsers are made of (npm)"
	@echo "make lock    resolve requirements.lock and requirements-dev.lock anew from pyproject.toml"
	@echo "make clean   remove what the above have made"

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)

# Compiled at once: where nobody may write beside what is installed, each process would do it anew.
$(VENV)/.ready: requirements.lock pyproject.toml | .tools/bin/uv
	$(UV) venv -q --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.ready
	$(UV) pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.ready

dev: $(VENV)/.dev

LOCK := pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: | .tools/bin/uv
	$(UV) $(LOCK) --group build -o requirements.lock pyproject.toml
	$(UV) $(LOCK) --group dev --all-extras -c requirements.lock -o requirements-dev.lock pyproject.toml

# By the lock file, and nothing of it is run here.
browser: .tools/browser/.ready
.tools/browser/.ready: tests/interop/browser/package.json tests/interop/browser/package-lock.json
	mkdir -p .tools/browser
	cp $^ .tools/browser/
	npm ci --prefix .tools/browser --ignore-scripts --no-audit --no-fund --silent
	@touch $@

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

imports: dev
	$(BIN)/lint-imports --no-cache

demo: setup
	$(BIN)/python -m demo $(if $(ONCE),--once)

fast: dev
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not slow and not long" $(FAST)

unslow: dev
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

slow: dev
	$(BIN)/pytest -q -n $(SLOW_WORKERS) --dist loadfile --no-loadscope-reorder -m slow $(SLOW)

# What looks at the source goes on side by side with the tests; each prints what it has to say when it ends.
check:
	@$(MAKE) -j -O --no-print-directory lint types imports fast

test:
	@$(MAKE) -j -O --no-print-directory lint types imports unslow
	@$(MAKE) --no-print-directory slow

# One JSON object a line on standard output, a table on standard error.
bench: dev
	@PYTHONPATH=tests/support $(BIN)/python -m bench $(ONLY)

# CI has it beside the tests (.ci/run): it takes no longer where it is slower, but tries less.
fuzz: dev
	@PYTHONPATH=tests/support $(BIN)/python -m fuzz_time

soak: export EFFORT := $(EFFORT)
soak: dev
	$(BIN)/pytest -q -n $(WORKERS) --timeout=7200 $(SOAKED)
	$(BIN)/pytest -q --timeout=7200 tests/interop/test_calls_through_peers.py
	mkdir -p .soak
	$(BIN)/p2psip sim docs/scenarios/small-rings.toml --seeds 1-$(SEEDS) --results .soak/small-rings.jsonl --jobs $(WORKERS)
	for run in $$(seq $(EFFORT)); do echo "demo $$run"; $(BIN)/python -m demo --once || exit 1; done

conformance: dev
	$(BIN)/python tests/support/conformance.py

transactions: dev
	$(BIN)/python tests/support/transaction_diagrams.py

published-chord: dev
	PYTHONPATH=tests/support $(BIN)/python tests/support/published_chord.py

deaths: dev
	PYTHONPATH=tests/support $(BIN)/python tests/support/deaths.py

nat-pairs: dev
	PYTHONPATH=tests/support $(BIN)/python tests/support/nat_pairs.py

ways-of-calls: dev
	PYTHONPATH=tests/support $(BIN)/python tests/support/ways_page.py

phone-table: dev
	$(BIN)/python tests/support/phone_table.py

clean:
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache
