# Targets for users and developers. A comment that begins with ## is the target's line in `make help`.

CARGO   ?= cargo
PREFIX  ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
# Where mount(8) looks for mount.lmfs, and for mount.fuse.lmfs when it is to remount.
HELPERS ?= /sbin
INSTALL ?= install
OBJCOPY ?= objcopy
# Where debuggers look for the symbols of installed programs, which are not in the programs themselves.
DEBUGDIR ?= /usr/lib/debug
# Files to measure on, by kind: one folder each.
EVAL    ?= tests/data

# One profile for everything, so that llama.cpp is built once, with optimization.
FLAGS := --release --locked
LMFS  := $(or $(CARGO_TARGET_DIR),target)/release/lmfs

# The whole-system tests that `make soak` makes longer.
SOAKED := crash damage dictionaries direct foreign_store load many_files raced testers waiting

.PHONY: build help setup setup-demo setup-test setup-bench demo test test-aarch64 test-python test-plugin-full miri fmt locks columns imports clippy doc deny unit unit-build unit-run unit-doc
.PHONY: soak soak-indexer soak-filesystem soak-check soak-bit-rot $(SOAKED:%=soak-%) fuzz bench publish-check install uninstall

build: setup  ## build the program (the default)
	$(CARGO) build $(FLAGS) -p lmfs

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## *\(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf 'make %-16s %s\n' "$$target" "$$text"; done

setup:
	@sh scripts/setup.sh build

setup-demo:
	@sh scripts/setup.sh demo

setup-test:
	@sh scripts/setup.sh test
	@sh scripts/testers.sh

setup-bench:
	@sh scripts/setup.sh bench

# The demo's model needs no llama.cpp, which takes half of a build. What was built with it stays as it is.
WITHOUT := $(if $(wildcard $(dir $(LMFS))build/llama-cpp-sys-2-*),,--no-default-features)
demo: setup-demo  ## show how it works: mount a store, copy files in, pack, read, kill, check (DEMO=folder: with your files)
	$(CARGO) build $(FLAGS) -p lmfs $(WITHOUT)
	@LMFS=$(LMFS) bash scripts/demo.sh $(DEMO)

# Each step prints when it started and how long it took.
test:  ## run everything that has to pass: format, lints, licences, unit, doc and whole-system tests
	@MAKE="$(MAKE)" sh scripts/steps.sh setup-test fmt locks columns imports clippy doc deny unit-build unit-run unit-doc

fmt:  ## check the format of the code
	$(CARGO) fmt --all --check

# The packages outside the workspace, whose dependencies the workspace's changes may change. `metadata` downloads all of
# them, and those of DataFusion are many.
locks:  ## check that the lock files of python/, tests/s3 and tests/datafusion are up to date
	$(CARGO) metadata --locked --format-version 1 --manifest-path python/Cargo.toml >/dev/null
	$(CARGO) metadata --locked --format-version 1 --manifest-path tests/s3/Cargo.toml >/dev/null
	$(CARGO) update --quiet --locked --workspace --manifest-path tests/datafusion/Cargo.toml

clippy:  ## run the lints
	$(CARGO) clippy $(FLAGS) --workspace --all-targets -- -D warnings

columns:  ## list lines of Rust with more than 120 columns
	@sh scripts/columns.sh

imports:  ## look for circles among the modules of each crate
	@python3 scripts/imports.py codec indexer lmfs object

doc:  ## build the documentation of the crates, where every warning is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(FLAGS) --no-deps -p lmfs-indexer -p lmfs-codec -p lmfs-object -p lmfs-object-013 -p lmfs

deny:  ## check licences, sources and known faults of dependencies
	sh scripts/deny.sh

unit: unit-build unit-run unit-doc  ## run the unit, whole-system and doc tests alone

# The whole-system tests run the program itself, so it is built first.
unit-build:
	$(CARGO) build $(FLAGS) --workspace
	$(CARGO) test $(FLAGS) --workspace --no-run

unit-run:
	$(CARGO) test $(FLAGS) --workspace --lib --bins --test '*'

unit-doc:
	$(CARGO) test $(FLAGS) --workspace --doc

test-aarch64:  ## test the exact engine for aarch64 (installs a cross compiler and an emulator)
	sh scripts/test-aarch64.sh

miri:  ## run the exact engine's plain kernels under Miri (installs a nightly toolchain)
	sh scripts/miri.sh

test-python:  ## build the Python package and test it, under the libraries that use it (needs Python's package registry)
	sh scripts/test-python.sh

test-plugin-full: setup  ## test lmfs-object over a server that speaks S3, and DataFusion (needs Python's package registry)
	sh scripts/test-plugin.sh

# How long `make soak` is: 1 should be two hours of two quiet cores, 10 is most of a day.
SOAK   ?= 1
soak:  ## run the randomized tests and the filesystem testers at length: two hours (SOAK=10: ten times that)
	@MAKE="$(MAKE)" sh scripts/steps.sh setup-test unit-build soak-indexer soak-filesystem soak-check soak-bit-rot $(SOAKED:%=soak-%)

soak-indexer:
	LMFS_SOAK=$(SOAK) $(CARGO) test $(FLAGS) -p lmfs-indexer --tests -- --nocapture

soak-filesystem:
	LMFS_SOAK=$(SOAK) $(CARGO) test $(FLAGS) -p lmfs --lib fs::tests -- --nocapture

soak-check:
	LMFS_SOAK=$(SOAK) $(CARGO) test $(FLAGS) -p lmfs --lib check::tests -- --nocapture

soak-bit-rot:
	LMFS_SOAK=$(SOAK) $(CARGO) test $(FLAGS) -p lmfs --test bit_rot -- --nocapture

$(SOAKED:%=soak-%): soak-%:
	LMFS_SOAK=$(SOAK) $(CARGO) test $(FLAGS) -p lmfs-tests --test $* -- --nocapture

TARGET  ?= block
SECONDS ?= 600
fuzz:  ## run one fuzz target (TARGET=block SECONDS=600), see fuzz/README.md
	LMFS_FUZZ_SEEDS=fuzz/corpus $(CARGO) test $(FLAGS) -p lmfs-codec -p lmfs --test fuzz
	$(CARGO) +nightly fuzz run $(TARGET) -- -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048

bench: setup-bench  ## measure the numbers of docs/BENCHMARKS.md (EVAL=folder: on your own corpus)
	$(CARGO) build $(FLAGS) --workspace
	$(CARGO) bench --profile release --locked -p lmfs-indexer --bench many_files
	EVAL=$(abspath $(EVAL)) $(CARGO) bench --profile release --locked -p lmfs-tests --bench bars

publish-check:  ## package the libraries for crates.io and build the packages, without uploading
	$(CARGO) publish --dry-run --locked -p lmfs-codec -p lmfs-indexer -p lmfs-object -p lmfs-object-013

SHARE := $(DESTDIR)$(PREFIX)/share
DOC   := $(SHARE)/doc/lmfs
SYMBOLS := $(DESTDIR)$(DEBUGDIR)$(PREFIX)/bin/lmfs.debug
UNITS := lmfs@.service lmfs-scrub@.service lmfs-scrub@.timer lmfs-push@.service

# Builds nothing. There may be no Rust for root, and the built files would belong to root.
install:  ## install what `make` built, with units, man pages, completions and documents (PREFIX, DESTDIR)
	@test -x $(LMFS) || { echo "there is no $(LMFS) yet: run make first, as yourself" >&2; exit 1; }
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(dir $(SYMBOLS))
	$(OBJCOPY) --only-keep-debug $(LMFS) $(SYMBOLS)
	$(OBJCOPY) --strip-all --add-gnu-debuglink=$(SYMBOLS) $(LMFS) $(DESTDIR)$(PREFIX)/bin/lmfs
	chmod 755 $(DESTDIR)$(PREFIX)/bin/lmfs && chmod 644 $(SYMBOLS)
	$(INSTALL) -d $(DESTDIR)$(HELPERS) $(DESTDIR)$(UNITDIR)
	ln -sf $(PREFIX)/bin/lmfs $(DESTDIR)$(HELPERS)/mount.lmfs
	ln -sf $(PREFIX)/bin/lmfs $(DESTDIR)$(HELPERS)/mount.fuse.lmfs
	for unit in $(UNITS); do sed 's|@BINDIR@|$(PREFIX)/bin|' systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit && chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit; done
	$(LMFS) manual $(SHARE)
	$(INSTALL) -D -m 644 -t $(DOC) README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE-APACHE LICENSE-MIT systemd/example.toml
	$(INSTALL) -D -m 644 -t $(DOC)/docs docs/*.md docs/*.png
	$(INSTALL) -D -m 644 -t $(DOC)/docs/scale docs/scale/*
	for part in codec indexer object python; do $(INSTALL) -D -m 644 -t $(DOC)/$$part $$part/README.md || exit; done
	$(INSTALL) -D -m 644 -t $(DOC)/python/examples python/examples/*.py
	$(INSTALL) -D -m 644 -t $(DOC)/models models/*.md

uninstall:  ## remove what `make install` installed, but no store and no configuration
	rm -f $(DESTDIR)$(PREFIX)/bin/lmfs $(SYMBOLS) $(DESTDIR)$(HELPERS)/mount.lmfs $(DESTDIR)$(HELPERS)/mount.fuse.lmfs $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	rm -f $(SHARE)/man/man1/lmfs.1 $(SHARE)/man/man1/lmfs-*.1 $(SHARE)/bash-completion/completions/lmfs
	rm -f $(SHARE)/zsh/site-functions/_lmfs $(SHARE)/fish/vendor_completions.d/lmfs.fish
	rm -rf $(DOC)

include training/train.mk
