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

PLATFORM = CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./tools/platform

.DEFAULT_GOAL := help
.PHONY: help demo demo-down up down forward status check-demo images test lint bench e2e e2e-faults helms

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the whole platform on this machine without Kubernetes, from raw records to a served model (SPEC=, DATASET=)
	@$(DEMO) up

demo-down: ## stop the demo; PURGE=1 deletes its data, PURGE=all its caches too
	@$(DEMO) down

up: ## the whole platform on Kubernetes, on a one-node cluster of its own where there is none (SPEC=, DATASET=, REGISTRY=, YES=1)
	@$(PLATFORM) up

down: ## stop the platform on Kubernetes; PURGE=1 deletes its data
	@$(PLATFORM) down

forward: ## lead localhost's ports to the platform's services on Kubernetes, until interrupted
	@$(PLATFORM) forward

status: ## one screen: services or pods, workflows, rows, runs, the version in production
	@$(PLATFORM) status
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

e2e: helms ## the chart under both Helms, then a cluster, the release, the workflows, the served model, for real (E2E=-run=...; KEEP=1)
	@MLOPS_TEST_HELM="$$(bin/cluster path helm3):$$(bin/cluster path helm4)" $(GO) test -count=1 ./internal/chart
	@$(GO) test -tags e2e -count=1 -timeout 80m -v -run 'TestPlatform' $(E2E) ./e2e

e2e-faults: helms ## the same broken on purpose: steps, databases, the controller and the node killed, upgrades under load
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
