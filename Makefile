# The two commands to begin with: make demo, make test. CONTRIBUTING.md explains the rest.

GO        ?= go
FUZZTIME  ?= 20s
TESTFLAGS ?=

# Programs are built with the profile beside their main, if there is one, for which everything they import is compiled once more. What only
# checks them does without.
UNPROFILED := -pgo=off
PKG       ?= ./...

BIN   := $(CURDIR)/bin
TOOLS := $(BIN)/.tools-$(shell cksum tools.mod | cut -d ' ' -f 1)

.PHONY: help
help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the proxy with four Redis shards inside it; needs nothing but Go
	@$(GO) run ./cmd/proxy demo

.PHONY: build
build: ## Build bin/proxy
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -pgo=auto -tags grpcnotrace -o $(BIN)/ ./cmd/...

.PHONY: sbom
sbom: build ## Write bills of materials of the binaries, bin/*.cdx.json (CycloneDX)
	@for name in proxy controlplane; do $(GO) run ./hack/sbom $(BIN)/$$name >$(BIN)/$$name.cdx.json || exit 1; done

.PHONY: test
test: test-servers ## Run every test under the race detector against real servers
	$(GO) test -race $(UNPROFILED) -timeout 30m $(TESTFLAGS) $(PKG)

.PHONY: e2e
e2e: test-servers ## Run the manifests' and examples' pods for real with podman (root)
	$(GO) test -count=1 -v $(TESTFLAGS) ./test/pods

.PHONY: test-servers
test-servers: kubeapi test-tools ## Install the servers and clients that the tests need (Debian)
	@hack/install-test-servers.sh

.PHONY: kubeapi
kubeapi: ## Build bin/kubeapi, the Kubernetes API server of the tests (minutes, once)
	@hack/build-kubeapi.sh

.PHONY: test-tools
test-tools: ## Build the programs that tests compare with (a minute, once)
	@hack/build-test-tools.sh

.PHONY: check
check: lint floors generated tidy ## Everything that a change must pass besides the tests

.PHONY: lint
lint: $(TOOLS) ## Format, vet and lint
	@unformatted=$$($(BIN)/gofumpt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(UNPROFILED) ./...
	GOFLAGS="$$GOFLAGS $(UNPROFILED)" $(BIN)/golangci-lint run --allow-parallel-runners

.PHONY: fmt
fmt: $(TOOLS) ## Format the code
	$(BIN)/gofumpt -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

.PHONY: floors
floors: ## Check who imports whom
	$(GO) test ./internal/floors

.PHONY: generate
generate: ## Write generated files anew
	$(GO) generate ./...

.PHONY: generated
generated: ## Check that generated files are fresh
	@hack/install-test-servers.sh --with-protoc
	@hack/check-generated.sh

.PHONY: tidy
tidy: ## Check that go.mod is tidy
	$(GO) mod tidy -diff

.PHONY: golden
golden: ## Rewrite the golden files; read the diff before you commit it
	$(GO) test $$(git grep -l 'internal/goldentest"' -- '*_test.go' | xargs -r -n 1 dirname | sort -u | sed 's|^|./|') -update

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (20s)
	@hack/fuzz.sh $(FUZZTIME) $(PKG)

.PHONY: bench
bench: test-servers ## Measure against twemproxy, HAProxy, pgbouncer, statsd_exporter, HAProxy and nginx for HTTP, rsyslog, and the control plane against go-control-plane
	$(GO) run ./bench $(BENCHFLAGS)
	$(GO) run ./bench/controlplane $(PLANEFLAGS)
	$(GO) run ./bench/database $(DBFLAGS)
	$(GO) run ./bench/metrics $(METRICSFLAGS)
	$(GO) run ./bench/http $(HTTPFLAGS)
	$(GO) run ./bench/logs $(LOGSFLAGS)

.PHONY: bench-logs
bench-logs: test-servers ## Measure the logs adapter against rsyslog
	$(GO) run ./bench/logs $(LOGSFLAGS)

.PHONY: bench-http
bench-http: test-servers ## Measure HTTP against HAProxy and nginx
	$(GO) run ./bench/http $(HTTPFLAGS)

.PHONY: bench-databases
bench-databases: test-servers ## Measure PostgreSQL and MariaDB against pgbouncer and HAProxy
	$(GO) run ./bench/database $(DBFLAGS)

.PHONY: profile
profile: test-servers ## Record cmd/proxy/default.pgo, by which the compiler optimizes the proxy
	rm -rf $(BIN)/profiles
	$(GO) run ./bench -rounds 5 -memory=false -contenders dragoman -profiles $(BIN)/profiles
	$(GO) run ./bench/database -rounds 3 -memory=false -contenders dragoman,dragoman-transaction -copy-bytes 100000000 -profiles $(BIN)/profiles
	$(GO) run ./bench/http -rounds 2 -contenders dragoman,direct -profiles $(BIN)/profiles
	$(GO) tool pprof -proto -output cmd/proxy/default.pgo $(BIN)/profiles/*.pb.gz

.PHONY: tools
tools: $(TOOLS) ## Build the pinned tools into bin/

$(TOOLS): tools.mod tools.sum
	@mkdir -p $(BIN)
	GOBIN=$(BIN) $(GO) install -modfile=tools.mod tool
	@rm -f $(BIN)/.tools-*
	@touch $@
