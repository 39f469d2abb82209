# make          build the program
# make demo     see it work: a store, a mount, real files, packed by the model, read back after a crash
# make test     everything that has to hold: format, lints, licences, unit, doc and whole-system tests
# make test-aarch64  the exact engine on another architecture, in an emulator
# make miri     the exact engine's plain kernels under Miri, which finds undefined behaviour (installs a nightly toolchain)
# make soak     the tests of chance many times over, and the world's filesystem testers at length: hours
# make fuzz     one fuzz target for long (TARGET=block, SECONDS=600): see fuzz/README.md
# make bench    the numbers of docs/BENCHMARKS.md, measured again (EVAL=folder: on an evaluation corpus of your own)
# make install  what `make` built into DESTDIR/PREFIX, with units, man pages, completions and documents (sudo builds nothing)
# make uninstall  all of that away again; stores and /etc/lmfs stay
# make train    a built-in model made again: MODEL=small CORPUS=folder (training/README.md)

CARGO   ?= cargo
PREFIX  ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
# Where mount(8) looks for mount.lmfs.
HELPERS ?= /sbin
INSTALL ?= install
# Files to measure on, by kind: one folder each.
EVAL    ?= tests/data

# One profile for everything, so that llama.cpp is built once, with optimization.
FLAGS := --release --locked
LMFS  := $(or $(CARGO_TARGET_DIR),target)/release/lmfs

.PHONY: build setup setup-test setup-bench demo test test-aarch64 miri fmt clippy deny unit soak fuzz bench install uninstall
build: setup
	$(CARGO) build $(FLAGS) -p lmfs

setup:
	@sh scripts/setup.sh build

setup-test:
	@sh scripts/setup.sh test
	@sh scripts/testers.sh

setup-bench:
	@sh scripts/setup.sh bench

demo: build
	@LMFS=$(LMFS) bash scripts/demo.sh $(DEMO)

test: setup-test fmt clippy deny unit

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy $(FLAGS) --workspace --all-targets -- -D warnings

deny:
	sh scripts/deny.sh

# The whole-system tests run the program itself, so it is built first. The machine runs few of them at a time: each has a
# mount, a daemon and a model.
unit:
	$(CARGO) build $(FLAGS) --workspace
	$(CARGO) test $(FLAGS) --workspace

# The exact engine on another architecture: installs a cross compiler and an emulator.
test-aarch64:
	sh scripts/test-aarch64.sh

miri:
	sh scripts/miri.sh

soak: setup-test
	$(CARGO) build $(FLAGS) --workspace
	LMFS_SOAK=1 $(CARGO) test $(FLAGS) -p lmfs-indexer --tests -- --nocapture
	LMFS_SOAK=1 $(CARGO) test $(FLAGS) -p lmfs --test bit_rot -- --nocapture
	LMFS_SOAK=1 $(CARGO) test $(FLAGS) -p lmfs-tests --test crash --test damage --test load --test many_files --test testers -- --nocapture
	LMFS_SOAK=1 $(CARGO) test $(FLAGS) -p lmfs --lib fs::tests -- --nocapture
	LMFS_SOAK=1 $(CARGO) test $(FLAGS) -p lmfs --lib check::tests -- --nocapture

TARGET  ?= block
SECONDS ?= 600
fuzz:
	LMFS_FUZZ_SEEDS=fuzz/corpus $(CARGO) test $(FLAGS) -p lmfs-codec --test fuzz
	$(CARGO) +nightly fuzz run $(TARGET) -- -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048

bench: setup-bench
	$(CARGO) build $(FLAGS) --workspace
	$(CARGO) bench --profile release --locked -p lmfs-indexer --bench many_files
	EVAL=$(abspath $(EVAL)) $(CARGO) bench --profile release --locked -p lmfs-tests --bench bars

SHARE := $(DESTDIR)$(PREFIX)/share
DOC   := $(SHARE)/doc/lmfs
UNITS := lmfs@.service lmfs-scrub@.service lmfs-scrub@.timer

# Builds nothing: as root there may be no Rust, and what it makes would belong to root.
install:
	@test -x $(LMFS) || { echo "there is no $(LMFS) yet: run make first, as yourself" >&2; exit 1; }
	$(INSTALL) -D -m 755 $(LMFS) $(DESTDIR)$(PREFIX)/bin/lmfs
	$(INSTALL) -d $(DESTDIR)$(HELPERS) $(DESTDIR)$(UNITDIR)
	ln -sf $(PREFIX)/bin/lmfs $(DESTDIR)$(HELPERS)/mount.lmfs
	for unit in $(UNITS); do sed 's|@BINDIR@|$(PREFIX)/bin|' systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit && chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit; done
	$(LMFS) manual $(SHARE)
	$(INSTALL) -D -m 644 -t $(DOC) README.md LICENSE-APACHE LICENSE-MIT systemd/example.toml
	$(INSTALL) -D -m 644 -t $(DOC)/docs docs/*.md
	$(INSTALL) -D -m 644 -t $(DOC)/models models/*.md

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/lmfs $(DESTDIR)$(HELPERS)/mount.lmfs $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	rm -f $(SHARE)/man/man1/lmfs.1 $(SHARE)/man/man1/lmfs-*.1 $(SHARE)/bash-completion/completions/lmfs
	rm -f $(SHARE)/zsh/site-functions/_lmfs $(SHARE)/fish/vendor_completions.d/lmfs.fish
	rm -rf $(DOC)

include training/train.mk
