# `make help` lists the targets. Parameters stand behind the target:
# make demo SPEC=workflows/datasets/penguins.yaml

SPEC ?=
DATASET ?=
PURGE ?=
REGISTRY ?=
export SPEC DATASET PURGE REGISTRY

GO ?= go
# Without cgo and with the same flags as the programs, so that what is compiled
# for the one is there for the other.
DEMO = CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./tools/demo

.DEFAULT_GOAL := help
.PHONY: help demo demo-down platform up down forward status check-demo images test lint bench e2e e2e-faults helms

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the whole platform on this machine without Kubernetes, from raw records to a served model (SPEC=, DATASET=)
	@$(DEMO) up

demo-down: ## stop the demo; PURGE=1 deletes its data, PURGE=all its caches too
	@$(DEMO) down

# Kubernetes' client and Argo's types take minutes to compile where they are not
# cached, and the compiler says nothing.
platform: # the tool behind up, down, forward and status
	@test -x bin/platform || echo "compiling the platform's tool: some minutes on a machine that has not done it before"
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o bin/platform ./tools/platform

up: platform ## the whole platform on Kubernetes, on a one-node cluster of its own where there is none (SPEC=, DATASET=, REGISTRY=, YES=1)
	@bin/platform up

down: platform ## stop the platform on Kubernetes; PURGE=1 deletes its data
	@bin/platform down

forward: platform ## lead localhost's ports to the platform's services on Kubernetes, until interrupted
	@bin/platform forward

# Who has only run the demo has no platform to ask, and need not compile its tool.
status: ## one screen: services or pods, workflows, rows, runs, the version in production
	@if test -x bin/platform || test -e "$${MLOPS_HOME:-$$HOME/.mlops}/platform.json" || test -e /var/lib/mlops/platform.json; then $(MAKE) --no-print-directory platform && bin/platform status; fi
	@$(DEMO) status

images: ## every image without Docker, into dist/ (ARCH=amd64,arm64, REGISTRY= pushes them, NAMES=)
	@CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./tools/images $(if $(ARCH),-arch $(ARCH)) $(if $(REGISTRY),-push $(REGISTRY)) $(NAMES)

check-demo: ## ask a running demo whether all it serves is right (CHECK=flags, e.g. -rows=101766)
	@$(DEMO) check $(CHECK)

test: ## every test, with the race detector; starts real Postgres, MLflow and MinIO and stops them (PKG=, TESTFLAGS=)
	@$(DEMO) scratch -services -- env CGO_ENABLED=1 OMP_WAIT_POLICY=passive $(GO) test -race $(TESTFLAGS) $(or $(PKG),./...)

helms: # both Helms, built from source into the cache
	@CGO_ENABLED=0 $(GO) build -C tools/cluster -trimpath -buildvcs=false -o $(CURDIR)/bin/cluster .
	@bin/cluster path helm3 >/dev/null && bin/cluster path helm4 >/dev/null

e2e: helms platform ## the chart under both Helms, then a cluster, the release, the workflows, the served model, for real (E2E=-run=...; KEEP=1)
	@MLOPS_TEST_HELM="$$(bin/cluster path helm3):$$(bin/cluster path helm4)" $(GO) test -count=1 ./internal/chart
	@$(GO) test -tags e2e -count=1 -timeout 80m -v -run 'TestPlatform' $(E2E) ./e2e

e2e-faults: helms platform ## the same broken on purpose: steps, databases, the controller and the node killed, upgrades under load
	@$(GO) test -tags e2e -count=1 -timeout 170m -v -run 'TestFaults' $(E2E) ./e2e

lint: ## gofmt, go vet, Argo's own check of workflows/, and what must not stand in the files
	@files="$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go'))"; \
	  test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags e2e ./e2e
	$(GO) mod verify
	$(GO) run ./tools/lint-workflows
	@tools/lint-text

bench: ## every figure that the README quotes, as ratios measured in one run, to JSON and a table
	@$(DEMO) scratch -- $(GO) run ./tools/bench demo
	@OMP_WAIT_POLICY=passive $(DEMO) scratch -services -- $(GO) run ./tools/bench ingest training evaluator accuracy scoring serving
