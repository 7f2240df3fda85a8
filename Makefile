# The verbs of this repository. Each is what CI runs, too (.ci/run).

GO       ?= go
FUZZTIME ?= 10s
GOLANGCI ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help test race invariants interleave fuzz bench peers ns lab lint ci

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-12s%s\n", $$1, $$2 }' Makefile

test: ## all tests that this machine and user can run
	$(GO) test ./...

# TestNSScripts tries our scripts on the kernel: 25 s of waiting in which nothing of
# ours runs that a race detector or a build tag changes.
scripts = '^TestNSScripts$$'

race: ## the same under the race detector, in random order
	$(GO) test -race -shuffle=on -skip $(scripts) ./...

invariants: ## with the checks of the build tag invariants, what it changes
	packages=$$(GO=$(GO) .ci/tagged invariants) && $(GO) test -tags invariants -skip $(scripts) $$packages

interleave: ## the lock-free parts in all interleavings with few preemptions
	$(GO) test -tags interleave -run '^TestInterleave' ./internal/interleave ./internal/buf ./internal/shring ./internal/park ./internal/sockq

fuzz: ## each fuzz target for FUZZTIME (default 10s)
	GO=$(GO) FUZZTIME=$(FUZZTIME) .ci/fuzz

bench: ## the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd bench && $(GO) test -run '^$$' -bench . -benchtime 5x ./...

peers: ## the tests of the nested module, against gVisor's stack
	cd bench && $(GO) vet ./... && $(GO) test ./...

ns: ## the tests against the Linux kernel, in network namespaces (as root)
	$(GO) test -count=1 -run '^TestNS' ./...

lab: ## the tests in virtual machines with a modelled NIC (fetches about 160 MB once)
	ZCTAP_VM=1 $(GO) test -count=1 -p 1 -timeout 40m -run '^TestLab' ./lab/...

lint: ## gofmt, vet, other systems, golangci-lint and internal/lint
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "not formatted: run gofmt -w"; echo "$$bad"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags invariants ./...
	$(GO) vet -tags interleave ./internal/...
	GOOS=darwin GOARCH=arm64 $(GO) vet . ./internal/... ./cmd/...
	GOARCH=arm64 $(GO) build .
	GOARCH=386 $(GO) vet ./internal/buf ./internal/wire ./internal/stack/tcp
	GOARCH=386 $(GO) test -vet=off ./internal/ifq ./internal/ksock ./internal/shring ./internal/uring ./internal/wire
	GOOS=windows $(GO) vet . ./cmd/...
	$(GO) run $(GOLANGCI) run ./...
	cd bench && $(GO) run $(GOLANGCI) run --config ../.golangci.yml ./...
	$(GO) test ./internal/lint

ci: ## all of it, as CI does
	.ci/run
