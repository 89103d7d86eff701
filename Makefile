# Everything that this project needs on a fresh Debian 12 with cargo:
#   make demo   installs what is missing, builds, and runs the main job on real connections
#   make test   installs what the tests need, and runs all of them
# Both need root for namespaces, BPF and raw sockets; as another user they ask sudo.

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# What building needs, and what the lab, the tests and the benchmarks run.
BUILD_PACKAGES := clang llvm libelf-dev zlib1g-dev pkg-config make gcc libc6-dev
LAB_PACKAGES := iproute2 nftables
TEST_PACKAGES := tcpdump tshark wireshark-common netcat-openbsd python3 procps util-linux
TEST_THREADS ?= 10
AS_ROOT := $(if $(SUDO),CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E")
BINARY = $(shell cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/tcpalive

# $(call install,PACKAGES): those that are missing, nothing when none is.
define install
	@missing=""; for package in $(1); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		$(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

.PHONY: help build demo test lint unit bench fuzz packages-build packages-lab packages-test

help:
	@sed -n 's/^#   //p' Makefile

packages-build:
	$(call install,$(BUILD_PACKAGES))

packages-lab:
	$(call install,$(BUILD_PACKAGES) $(LAB_PACKAGES))

packages-test:
	$(call install,$(BUILD_PACKAGES) $(LAB_PACKAGES) $(TEST_PACKAGES))

build: packages-build
	cargo build --release --locked -p tcpalive

demo: packages-lab
	cargo build --release --locked -p tcpalive
	$(SUDO) $(BINARY) lab run night

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p tcpalive-keepalive --all-targets --all-features --locked -- -D warnings
	# The core needs neither the standard library nor any other crate.
	cargo clippy -p tcpalive-keepalive --no-default-features --locked -- -D warnings
	./scripts/check-purity

test: packages-test lint
	# Tests mostly wait, each in namespaces of its own.
	$(AS_ROOT) RUST_TEST_THREADS=$(TEST_THREADS) cargo test --workspace --locked --no-fail-fast
	cargo test -p tcpalive-keepalive --all-features --locked --no-fail-fast

bench: packages-test
	cargo build --release --locked -p tcpalive
	$(AS_ROOT) cargo bench --locked -p tcpalive --bench figures
	cargo bench --locked -p tcpalive-capture --bench reader

# Needs a nightly toolchain and cargo-fuzz; SECONDS for each parser.
SECONDS ?= 300
fuzz:
	cargo +nightly fuzz run capture_file -- -malloc_limit_mb=4 -max_total_time=$(SECONDS)
	cargo +nightly fuzz run filter -- -max_total_time=$(SECONDS)
	cargo +nightly fuzz run segment -- -max_total_time=$(SECONDS)
