# `make help` lists the targets. Parameters come after the target:
# make demo SPEC=workflows/datasets/penguins.yaml

SPEC ?=
DATASET ?=
PURGE ?=
SYNTHETIC ?=
REGISTRY ?=
COSIGN_KEY ?=
TARGET ?=
POSITIVE ?=
TASK ?=
SPLIT_BY ?=
FILE ?=
export SPEC DATASET PURGE REGISTRY COSIGN_KEY SYNTHETIC TARGET POSITIVE TASK SPLIT_BY FILE

GO ?= go
# Without cgo and with the flags that the programs are compiled with, so that both
# share Go's build cache.
MLOPS = CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./tools/mlops

# The packages of tools/cluster, a module of its own, that compile without
# Kubernetes; lint-modules vets the others.
CLUSTER = . ./internal/... ./node/api ./node/pause ./node/provisioner

# What is tested of the modules beside the product's, where it needs neither Kubernetes
# nor MinIO; lint-modules has the rest.
define test_modules
@CGO_ENABLED=$(1) $(GO) test -C tools/cluster $(2) $(TESTFLAGS) $(CLUSTER)
@CGO_ENABLED=0 $(GO) test -C tools/lint $(TESTFLAGS) ./floors ./licences ./links
@CGO_ENABLED=0 $(GO) test -C tools/minio -run 'TestRefused|TestGuard' $(TESTFLAGS) metrics.go metrics_test.go refuse.go refuse_test.go
endef

# The packages whose tests take longest start first, so that none is left running
# alone at the end.
SLOW = ./internal/promote ./internal/tree ./internal/serve ./internal/local ./tools/images

.DEFAULT_GOAL := help
.PHONY: help init check predict demo demo-down loadtest forget platform up down forward backup restore key keys key-revoke history rollback adopt pin challenge retain status check-demo images test test-short fuzz fmt lint lint-modules dashboards licences rules screenshots bench bench-quality e2e e2e-api e2e-faults e2e-soak helms oauth2-proxy watching

help:
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ This machine
# A small program installs the virtual environment and compiles the rest at the same
# time; a line every few seconds says that it is being compiled itself.
demo: ## run the whole platform on this machine, without Kubernetes, to a served model (SPEC=, DATASET=, TARGET=)
	@test -x bin/mlops || echo "First run: installing Python packages and compiling the programs takes about two minutes, the way to a served model half a minute more. Later runs take seconds."
	@while sleep 4 >/dev/null 2>&1; do echo "  compiling the launcher"; done & beat=$$!; trap 'kill $$beat' EXIT; \
	  CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o bin/launch ./tools/launch
	@bin/launch

status: ## show services or pods, workflows, rows, runs and the version in production (NAMESPACE= of a release)
	@if test -n "$$NAMESPACE" || test -e "$${MLOPS_HOME:-$$HOME/.mlops}/platform.json" || test -e /var/lib/mlops/platform.json; then $(MAKE) --no-print-directory platform; fi
	@$(MLOPS) status

check-demo: ## verify what a running demo serves (SPEC=, CHECK=flags, such as -rows=101766)
	@$(MLOPS) check-demo $(CHECK)

loadtest: ## open the load tester's page on port 8089 against the demo (TARGET_URL=another server's)
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o bin/loadtest ./images/loadtest
	@$(MLOPS) loadtest $(if $(TARGET_URL),-target "$$TARGET_URL")

demo-down: ## stop the demo; PURGE=1 deletes its data, PURGE=all its caches too
	@$(MLOPS) demo down

##@ Your table
init: ## draft a data set's YAML for a table (DATASET=my.csv TARGET=column, OUT=, POSITIVE=value, TASK=, SPLIT_BY=column)
	@test -n "$$DATASET" || { echo "init needs a table: make init DATASET=my.csv TARGET=column"; exit 2; }
	@$(MLOPS) init $(if $(OUT),--out "$$OUT") "$$DATASET"

check: ## report everything that would go wrong with a table and its YAML, before anything is loaded (SPEC=, DATASET=)
	@test -n "$$SPEC" || { echo "check needs a data set's YAML: make check SPEC=my.yaml DATASET=my.csv"; exit 2; }
	@$(MLOPS) check "$$SPEC" $(if $(DATASET),"$$DATASET")

predict: ## score a CSV file with the demo's server, each line with its prediction behind it, to standard output (FILE=my.csv, SPEC=my.yaml)
	@test -n "$$FILE" || { echo "predict needs a file: make predict FILE=my.csv > scored.csv"; exit 2; }
	@$(MLOPS) predict "$$FILE"

forget: ## remove one data set's rows and files; its models stay (SPEC=, YES=1, ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform forget,$(MLOPS) forget)

##@ The model in production (MODEL= where there are several)
# The tool for Kubernetes is compiled only if the platform was installed from here.
history: ## show what was in production of the model, when, by whom and why (N=20, ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform history,$(MLOPS) history $(if $(N),-n $(N)))

rollback: ## put an earlier version of the model back into production (WHY=, TO=, ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform rollback,$(MLOPS) rollback $(if $(TO),-to $(TO)))

adopt: ## put a version that a notebook logged into production (WHY=, VERSION=, ANYWAY=1; ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform adopt,$(MLOPS) adopt $(if $(VERSION),-version $(VERSION)) $(if $(filter 1,$(ANYWAY)),-anyway))

pin: ## keep the version in production, whatever a pipeline finds (WHY=; OFF=1 ends it; ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform pin,$(MLOPS) pin $(if $(filter 1,$(OFF)),-off))

challenge: ## choose the version that is compared with the one in production (VERSION=, WHY=; OFF=1 ends it; ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform challenge,$(MLOPS) challenge $(if $(VERSION),-version $(VERSION)) $(if $(filter 1,$(OFF)),-off))

retain: ## say which versions of the model need not stay; REMOVE=1 removes them (NEWEST=20, DAYS=90, ON=cluster)
	@$(if $(ON),$(MAKE) --no-print-directory platform && bin/platform retain,$(MLOPS) retain $(if $(NEWEST),-newest $(NEWEST)) $(if $(DAYS),-days $(DAYS)) $(if $(filter 1,$(REMOVE)),-remove))

##@ Kubernetes
# Kubernetes' client and Argo's types take minutes to compile the first time, and
# the compiler prints nothing meanwhile.
platform: # the tool behind all targets for Kubernetes
	@test -x bin/platform || echo "compiling the tool for Kubernetes: some minutes the first time"
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o bin/platform ./tools/platform

up: platform ## run the whole platform on Kubernetes; without a cluster, start one of a single node (SPEC=, DATASET=, REGISTRY=, YES=1)
	@bin/platform up

down: platform ## stop the platform on Kubernetes; PURGE=1 deletes its data
	@bin/platform down

forward: platform ## forward local ports to the services on Kubernetes, until interrupted (NAMESPACE=)
	@bin/platform forward

backup: platform ## back up a release's databases and buckets to a folder or a bucket (TO=, KEEP=, RECIPIENT=, NAMESPACE=)
	@bin/platform backup

restore: platform ## restore such a backup into an installed release (FROM=, BACKUP=, IDENTITY=, REPLACE=1, NAMESPACE=)
	@bin/platform restore

key: platform ## create an API key for a release, and print it once (NAME=, SCOPE=predict,read, RATE=100/s, NAMESPACE=)
	@bin/platform key

keys: platform ## list a release's API keys (NAMESPACE=)
	@bin/platform keys

key-revoke: platform ## revoke an API key of a release (ID= or NAME=, NAMESPACE=)
	@bin/platform key-revoke

images: ## build every image into dist/, without Docker (ARCH=amd64,arm64, NAMES=; REGISTRY= pushes them, COSIGN_KEY= signs them)
	@CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./tools/images $(if $(ARCH),-arch $(ARCH)) $(if $(REGISTRY),-push $(REGISTRY)) $(NAMES)

##@ Development
test: ## run every test with the race detector, on real Postgres, MLflow and MinIO (PKG=, TESTFLAGS=)
	@$(MLOPS) scratch -services -no-sync -- env CGO_ENABLED=1 OMP_WAIT_POLICY=passive $(GO) test -race $(TESTFLAGS) $(or $(PKG),$(SLOW) ./...)
	$(if $(PKG),,$(call test_modules,1,-race))

test-short: ## run the tests that need no service: under a minute once compiled (PKG=, TESTFLAGS=)
	@CGO_ENABLED=0 $(GO) test -short $(TESTFLAGS) $(or $(PKG),$(SLOW) ./...)
	$(if $(PKG),,$(call test_modules,0,-short))

fmt: ## format the Go code
	@gofmt -l -w $$(git ls-files -co --exclude-standard '*.go')

lint: ## gofmt, go vet, static analysis, floors of packages, licences, links, spelling, scripts, YAML, Argo's validation of workflows/
	@files="$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go'))"; \
	  test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags e2e ./e2e
	CGO_ENABLED=0 $(GO) vet -C tools/cluster $(CLUSTER)
	$(GO) mod verify
	$(GO) run ./tools/lint-workflows
	@tools/lint/run

# With the flags of the programs' own builds (bin/cluster build, internal/local), so
# that what those compiled, Kubernetes and MinIO, is not compiled again.
lint-modules: ## go vet and tests of what takes long to compile: the programs of tools/cluster, tools/minio
	CGO_ENABLED=0 $(GO) vet -C tools/cluster -trimpath -mod=readonly ./...
	CGO_ENABLED=0 $(GO) vet -C tools/minio -trimpath ./...
	CGO_ENABLED=0 $(GO) test -C tools/minio -trimpath ./...
	cd tools/cluster && $(GO) mod verify
	cd tools/minio && $(GO) mod verify
	cd tools/argo && $(GO) mod verify
	cd tools/versitygw && $(GO) mod verify
	cd tools/netpol && $(GO) mod verify
	cd tools/postgres-exporter && $(GO) mod verify
	cd tools/alertmanager && $(GO) mod verify

fuzz: ## run each fuzz target for a while (FUZZTIME=30s)
	@grep -rl --include='*_test.go' '^func Fuzz' internal loadtest | while read -r file; do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
	    echo "$$target in $$(dirname "$$file")"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),30s) "./$$(dirname "$$file")" || exit 1; \
	  done; \
	done

# promtool is built beside Prometheus, from a copy of the module's files: a change of
# those would compile Kubernetes again.
rules: ## test that each alert fires when it should and else stays quiet (builds promtool: a minute or two the first time)
	@mkdir -p bin && cp tools/cluster/go.mod bin/promtool.mod && cp tools/cluster/go.sum bin/promtool.sum
	@test -x bin/promtool || CGO_ENABLED=0 $(GO) build -C tools/cluster -trimpath -buildvcs=false -mod=mod -modfile=$(CURDIR)/bin/promtool.mod -o $(CURDIR)/bin/promtool github.com/prometheus/prometheus/cmd/promtool
	@cd charts/charts/prometheus && $(CURDIR)/bin/promtool check rules rules.yml && $(CURDIR)/bin/promtool test rules rules_test.yml

dashboards: ## write dashboards/json and check it against the types that Grafana publishes (needs npm)
	@$(GO) run ./dashboards
	@dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; npm install --silent --no-audit --no-fund --prefix "$$dir" @grafana/schema@13.2.3 typescript@5.9.3 && node dashboards/schema.mjs "$$dir"

licences: ## write docs/licences.md from what is linked and carried
	@$(GO) build -C tools/lint -o $(CURDIR)/bin/lint/ ./licences && bin/lint/licences -write

screenshots: ## take the pictures of the documentation from a running demo (needs Chromium; SCREENSHOTS=flags)
	@$(GO) run ./tools/screenshots $(SCREENSHOTS)

# PARTS are those of tools/bench/main.go; demo and soak need a home of their own, page and csv
# a demo. The soak takes half an hour (MINUTES=) and only runs by name.
PARTS ?= demo ingest training evaluator accuracy scoring serving reasons earlier tables loadtest nodeport page csv
bench: ## measure every figure that the documents quote, into bench.json and a table (PARTS=tables, TABLES=folder)
	@$(if $(filter demo soak,$(PARTS)),$(MLOPS) scratch -- $(GO) run ./tools/bench $(filter demo soak,$(PARTS)))
	@$(if $(filter-out demo soak page csv,$(PARTS)),OMP_WAIT_POLICY=passive $(MLOPS) scratch -services -- $(GO) run ./tools/bench $(filter-out demo soak page csv,$(PARTS)))
	@$(if $(filter page csv,$(PARTS)),$(MLOPS) scratch -- sh -ec '$(if $(MLOPS_BENCH_PAGE)$(MLOPS_BENCH_URL),,$(MAKE) --no-print-directory demo;) $(GO) run ./tools/bench $(filter page csv,$(PARTS))')

bench-quality: ## compare the shipped model with Python's on the same rows and splits, into bench.json, bench-quality.json and a table (ONLY=salt)
	@OMP_WAIT_POLICY=passive $(MLOPS) scratch -services -- $(GO) run ./tools/bench quality

# Programs from tools/, as the images have them; minutes the first time.
bin/alertmanager: tools/alertmanager/go.mod
	@CGO_ENABLED=0 $(GO) build -C tools/alertmanager -trimpath -buildvcs=false -o $(CURDIR)/$@ github.com/prometheus/alertmanager/cmd/alertmanager
bin/postgres-exporter: tools/postgres-exporter/go.mod
	@CGO_ENABLED=0 $(GO) build -C tools/postgres-exporter -trimpath -buildvcs=false -o $(CURDIR)/$@ github.com/prometheus-community/postgres_exporter/cmd/postgres_exporter

watching: helms bin/alertmanager bin/postgres-exporter ## test that an alert of the chart's Prometheus reaches a receiver by Alertmanager, and what Postgres' exporter gives
	@MLOPS_TEST_HELM="$$(bin/cluster path helm4)" MLOPS_TEST_PROMETHEUS="$$(bin/cluster path prometheus)" MLOPS_TEST_ALERTMANAGER=$(CURDIR)/bin/alertmanager $(GO) test -count=1 -run TestAlertIsReceived -v ./internal/chart
	@MLOPS_TEST_POSTGRES_EXPORTER=$(CURDIR)/bin/postgres-exporter $(MAKE) --no-print-directory test PKG=./internal/setup TESTFLAGS='-count=1 -v -run TestExporter'

e2e-api: ## ask a server per task what its OpenAPI document allows and what it doesn't, with schemathesis (API=flags, such as -seconds=30)
	@$(MLOPS) scratch -- sh -ec 'for spec in workflows/datasets/penguins.yaml docs/examples/species.yaml docs/examples/body-mass.yaml; do \
	  $(MAKE) --no-print-directory demo SPEC=$$spec; done; $(GO) run ./e2e/api $(API)'

helms: # Helm 3 and 4, built from source into the cache
	@CGO_ENABLED=0 $(GO) build -C tools/cluster -trimpath -buildvcs=false -o $(CURDIR)/bin/cluster .
	@bin/cluster path helm3 >/dev/null && bin/cluster path helm4 >/dev/null

# The login proxy of docs/operating.md, from its source: minutes the first time.
oauth2-proxy:
	@test -x bin/oauth2-proxy || CGO_ENABLED=0 GOBIN=$(CURDIR)/bin $(GO) install -trimpath github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6

e2e: helms oauth2-proxy bin/alertmanager platform ## test the chart under Helm 3 and 4, then the platform end to end on a cluster (E2E=-run=..., KEEP=1)
	@MLOPS_TEST_PROMETHEUS="$$(bin/cluster path prometheus)" MLOPS_TEST_ALERTMANAGER=$(CURDIR)/bin/alertmanager MLOPS_TEST_OAUTH2_PROXY=$(CURDIR)/bin/oauth2-proxy MLOPS_TEST_HELM="$$(bin/cluster path helm3):$$(bin/cluster path helm4)" $(GO) test -count=1 -timeout 30m ./internal/chart
	@$(GO) test -tags e2e -count=1 -timeout 80m -v -run 'TestPlatform' $(E2E) ./e2e

e2e-faults: helms platform ## the same with faults: steps, databases, controller and node are killed, upgrades under load
	@$(GO) test -tags e2e -count=1 -timeout 170m -v -run 'TestFaults' $(E2E) ./e2e

e2e-soak: helms platform ## load for MINUTES (30) with trainings beside: memory, goroutines and connections stay flat
	@MINUTES=$(MINUTES) $(GO) test -tags e2e -count=1 -timeout 170m -v -run 'TestSoak' $(E2E) ./e2e
