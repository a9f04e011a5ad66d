# `make help` lists the targets. Parameters stand behind the target:
# make demo SPEC=workflows/datasets/penguins.yaml

SPEC ?=
DATASET ?=
PURGE ?=
export SPEC DATASET PURGE

GO ?= go
# Without cgo and with the same flags as the programs, so that what is compiled
# for the one is there for the other.
DEMO = CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./tools/demo

.DEFAULT_GOAL := help
.PHONY: help demo demo-down status check-demo test lint bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the whole platform on this machine without Kubernetes, from raw records to a served model (SPEC=, DATASET=)
	@$(DEMO) up

demo-down: ## stop the demo; PURGE=1 deletes its data, PURGE=all its caches too
	@$(DEMO) down

status: ## one screen: services, rows, runs, the version in production
	@$(DEMO) status

check-demo: ## ask a running demo whether all it serves is right (CHECK=flags, e.g. -rows=101766)
	@$(DEMO) check $(CHECK)

test: ## every test, with the race detector; starts real Postgres, MLflow and MinIO and stops them (PKG=, TESTFLAGS=)
	@$(DEMO) scratch -services -- env CGO_ENABLED=1 OMP_WAIT_POLICY=passive $(GO) test -race $(TESTFLAGS) $(or $(PKG),./...)

lint: ## gofmt, go vet, Argo's own check of workflows/, and what must not stand in the files
	@files="$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go'))"; \
	  test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) mod verify
	$(GO) run ./tools/lint-workflows
	@tools/lint-text

bench: ## every figure that the README quotes, as ratios measured in one run, to JSON and a table
	@$(DEMO) scratch -- $(GO) run ./tools/bench demo
	@OMP_WAIT_POLICY=passive $(DEMO) scratch -services -- $(GO) run ./tools/bench ingest training evaluator accuracy
