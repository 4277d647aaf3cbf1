# The short way in. Each target is one or two commands of `cargo xtask`, which says what it does;
# this file only makes sure that cargo can start.

# A shell that was not started as a login shell may miss these.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

.PHONY: help demo demo-clean test e2e bench build clean bootstrap

help:
	@echo 'make demo           show the mesh at work on this machine, then remove everything (root)'
	@echo 'make demo KEEP=1    the same, but leave it up to play with'
	@echo 'make demo-clean     remove what that left up'
	@echo 'make demo VM=1      the same inside a virtual machine: needs neither root nor BPF'
	@echo 'make demo VM=6.1    the same there on Linux 6.1; VM=1 is the newest supported one'
	@echo 'make test           run every test, on older kernels too (root)'
	@echo 'make e2e            run the scenes in a real Kubernetes under a real istiod (root); NAME=x for some'
	@echo 'make e2e KUBECONFIG=FILE   the same in a cluster of yours; see docs/e2e.md'
	@echo 'make bench          run the benches (root); NAME=x for one of them'
	@echo 'make build          build the programs for release'
	@echo 'make clean          remove what was built'
	@echo 'Missing packages are installed with apt-get; each is named first. More: cargo xtask --help'

demo: bootstrap
	@cargo xtask demo $(if $(KEEP),--keep) $(if $(VM),--vm $(filter-out 1,$(VM)))

# What a demo with KEEP=1 left up, or one that was killed.
demo-clean:
	@target/release/demo --clean

test: bootstrap
	@cargo xtask deps && cargo xtask test

e2e: bootstrap
	@$(if $(KUBECONFIG),KUBECONFIG=$(KUBECONFIG) )cargo xtask e2e $(NAME)

bench: bootstrap
	@cargo xtask bench $(NAME)

build: bootstrap
	@cargo xtask deps --no-vm && cargo xtask build --release

clean: bootstrap
	@cargo clean

# cargo builds xtask, and for that it needs a linker; xtask installs everything else.
bootstrap:
	@command -v cargo >/dev/null || { \
	  echo 'cargo is missing: install Rust with rustup (see rust-lang.org), then run make again.'; \
	  echo 'With sudo, root must see it: sudo env "PATH=$$PATH" "HOME=$$HOME" make ...'; exit 1; }
	@command -v cc >/dev/null || { \
	  if ! command -v apt-get >/dev/null; then \
	    echo 'cc is missing: install a C compiler with its headers, then run make again.'; exit 1; fi; \
	  if [ "$$(id -u)" != 0 ]; then \
	    echo 'cc is missing: as root, apt-get install gcc libc6-dev, then run make again.'; exit 1; fi; \
	  echo 'cc is missing, and cargo links with it: installing gcc and libc6-dev'; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get install -y --no-install-recommends gcc libc6-dev || { \
	    apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev; }; }
