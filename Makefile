# Everything that this project needs on a fresh Debian 12 with cargo:
#   make demo   installs what is missing, builds, and runs the main job on real connections
#   make test   installs what the tests need, and runs all of them
# Both need root for namespaces, BPF and raw sockets; as another user they ask sudo.

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# What building needs, and what the lab, the tests and the benchmarks run.
BUILD_PACKAGES := clang llvm libelf-dev zlib1g-dev libpcap-dev pkg-config make gcc libc6-dev
LAB_PACKAGES := iproute2 nftables
TEST_PACKAGES := tcpdump tshark wireshark-common netcat-openbsd python3 procps util-linux
# The programs that the lines of `tcpalive plan` are tested with.
TEST_PACKAGES += systemd nginx-light haproxy redis-server postgresql-15 postgresql-client-15 nodejs openjdk-17-jdk-headless
TEST_THREADS ?= 10
AS_ROOT := $(if $(SUDO),CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E")
BINARY = $(shell cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/tcpalive

# $(call install,PACKAGES): those that are missing, nothing when none is. Some of them are
# servers; policy-rc.d keeps Debian from starting them.
define install
	@missing=""; for package in $(1); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		policy=/usr/sbin/policy-rc.d; \
		if [ ! -e $$policy ]; then \
			trap "$(SUDO) rm -f $$policy" EXIT; \
			printf '#!/bin/sh\nexit 101\n' | $(SUDO) tee $$policy >/dev/null; \
			$(SUDO) chmod 755 $$policy; \
		fi; \
		$(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

# Debian 12's own Go does not know net.KeepAliveConfig. Its backports, at the mirror that apt
# uses anyway, have one that does; apt's sources stay as they are.
define install_go
	@if [ ! -x /usr/lib/go-1.23/bin/go ]; then \
		echo "installing golang-1.23-go from bookworm-backports"; \
		apt=$$(mktemp -d) && chmod 755 $$apt && mkdir -p $$apt/lists/partial; \
		trap "$(SUDO) rm -rf $$apt" EXIT; \
		mirror=$$(apt-get indextargets --format '$$(SITE) $$(RELEASE)' | sed -n 's/ bookworm$$//p' | head -n 1); \
		[ -n "$$mirror" ] || { echo "apt has no source for bookworm, so Go 1.23 cannot be installed from its backports"; exit 1; }; \
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $$mirror bookworm-backports main" >$$apt/sources.list; \
		from="-o Dir::Etc::SourceList=$$apt/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$$apt/lists -o APT::Sandbox::User=root"; \
		$(SUDO) apt-get $$from update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get $$from install -y -qq --no-install-recommends golang-1.23-go >/dev/null; \
	fi
endef

.PHONY: help build demo test lint unit bench fuzz packages-build packages-lab packages-test
.PHONY: help build demo test lint unit bench bench-cost fuzz packages-build packages-lab packages-test

help:
	@sed -n 's/^#   //p' Makefile

packages-build:
	$(call install,$(BUILD_PACKAGES))

packages-lab:
	$(call install,$(BUILD_PACKAGES) $(LAB_PACKAGES))

packages-test:
	$(call install,$(BUILD_PACKAGES) $(LAB_PACKAGES) $(TEST_PACKAGES))
	$(call install_go)

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

bench-cost: packages-test
	cargo build --release --locked -p tcpalive
	$(AS_ROOT) cargo bench --locked -p tcpalive --bench figures -- cost

# Needs a nightly toolchain and cargo-fuzz; SECONDS for each parser.
SECONDS ?= 300
fuzz:
	cargo +nightly fuzz run capture_file -- -malloc_limit_mb=4 -max_total_time=$(SECONDS)
	cargo +nightly fuzz run filter -- -max_total_time=$(SECONDS)
	cargo +nightly fuzz run segment -- -max_total_time=$(SECONDS)
