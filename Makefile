# Variants of one recipe differ in variables only, so that no two drift apart.
PKG     ?= ./...
TESTS   ?= .
TAGS    ?= varvecostly
FLAGS   ?=
FUZZTIME ?= 10s
SOAK    ?= 1h
RESULTS ?= bench/results/latest
# Planted bugs that take a few to some dozens of seeds.
SEARCHED ?= child-misses-parents-flush,child-sees-later,collects-above,vote-tells-greeting,history-before-cut,hole-not-cleared
GOTESTSUM = bin/gotestsum --format pkgname-and-test-fails --
GO_FILES  = $(shell git ls-files '*.go')

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the commands into bin/
	go build -o bin/ ./cmd/...

.PHONY: demo
demo: prerequisites build ## run real PostgreSQL on Varve, damage everything, lose nothing (under two minutes)
	bin/varve-demo

.PHONY: test
test: prerequisites lint bin/gotestsum bin/versitygw ## lint, then every test, with a real PostgreSQL and a real S3 server
	$(GOTESTSUM) -tags '$(TAGS)' -timeout 20m -run '$(TESTS)' $(FLAGS) $(PKG)

.PHONY: race
race: ## every test under the race detector (nightly: longer than CI's budget)
	$(MAKE) test FLAGS='-race $(FLAGS)'

.PHONY: waldump-full
waldump-full: prerequisites ## compare the decoder with pg_waldump over more than a million records
	VARVE_FULL=1 go test -count=1 -timeout 60m -v -run '^TestDumpEqualsPgWaldump$$' ./wal/pgwal

.PHONY: oracle
oracle: prerequisites ## compare redo with PostgreSQL's own pages, over every kind of record
	go test -count=1 -timeout 20m -v -run '^TestRedoMakesPostgresPages$$' ./pageserver/oracle

.PHONY: oracle-full
oracle-full: prerequisites ## the same over five million records
	VARVE_FULL=1 go test -count=1 -timeout 120m -v -run '^TestRedoMakesPostgresPages$$' ./pageserver/oracle

.PHONY: redo-mutants
redo-mutants: prerequisites ## plant a bug in the redo of every kind of record and see whether oracle or standby finds it
	VARVE_MUTANTS=1 go test -count=1 -timeout 120m -v -run '^TestRedoMakesPostgresPages$$' ./pageserver/oracle -write-mutants ../../docs/TESTING.md

.PHONY: standby-compare
standby-compare: prerequisites ## compare redo with the pages of a stock standby, at a hundred random LSNs of a log without images
	VARVE_FULL=1 go test -count=1 -timeout 60m -v -run '^TestRedoMakesStandbyPages$$' ./pageserver/oracle

.PHONY: endtoend-full
endtoend-full: prerequisites ## the whole path at every edge that the tests know: more places, longer loads
	VARVE_FULL=1 go test -count=1 -timeout 60m -v -run '$(TESTS)' ./compute/endpoint

.PHONY: crash-sweep
crash-sweep: ## crash one short simulated history at each of its calls of Env: eight minutes of CPU time
	go test ./sim -run TestACrashAtAnyCall -sweep 0 -count 1 -v -timeout 0

.PHONY: soak
soak: ## simulate seed after seed for SOAK, with every profile in turn
	go run ./cmd/varve-sim soak --for $(SOAK) -j 2 --profile all,swarm,net,process,disk,clock,bucket,sched,rivals,losses,branches,worst,quiet

.PHONY: bench
bench: build bench-peers ## every suite, nine rounds, on a quiet machine (35 minutes); results in bench/results/latest
	bin/varve-bench run all --within 35m --out $(RESULTS)
	bin/varve-bench gate $(RESULTS)

.PHONY: bench-quick
bench-quick: build bench-peers ## every suite, three small rounds (under ten minutes): smoke, says nothing about time; results in out/bench-quick
	bin/varve-bench run all --quick
	bin/varve-bench gate out/bench-quick

.PHONY: plots
plots: build ## draw RESULTS: SVG, PNG, and CSV of what is in each
	bin/varve-bench plot $(RESULTS)

.PHONY: bench-docs
bench-docs: build ## write docs/BENCHMARKS.md, its figures and README's part from RESULTS
	bin/varve-bench report $(RESULTS)

.PHONY: layermap
layermap: prerequisites build ## draw docs/figures/layermap.svg: the layers of a real database with branches (minutes)
	docs/figures/layermap.sh

.PHONY: bench-peers
bench-peers: ## install the peers that are packages, and build the program with those that are modules (Pebble, etcd)
	@tools/prerequisites.sh bench
	go build -C bench/peers -o ../../bin/varve-bench-peers .

.PHONY: mutants
mutants: ## plant every bug of the bank in the simulator and see whether it is found (an hour)
	@mkdir -p out
	go run ./cmd/varve-sim mutants --results out/mutants.jsonl --write docs/TESTING.md

.PHONY: mutants-search
mutants-search: ## do changed tapes find planted bugs sooner than fresh seeds? (15 minutes of CPU time at most)
	go run ./cmd/varve-sim mutants --search --times 3 --cpu 13m --only $(SEARCHED) --write docs/TESTING.md

.PHONY: lint
lint: bin/staticcheck ## gofmt, vet, staticcheck, import arrows, banned calls, sizes, docs
	@unformatted=$$(gofmt -l $(GO_FILES)); [ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	go vet -tags '$(TAGS)' ./...
	bin/staticcheck -tags '$(TAGS)' ./...
	cd tools && go test -count=1 ./lint

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME each
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

.PHONY: prerequisites
prerequisites: ## install what the tests and the demo need besides Go, git and make
	@tools/prerequisites.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf bin out

bin/gotestsum: tools/go.mod
	cd tools && go build -o ../bin/gotestsum gotest.tools/gotestsum

bin/staticcheck: tools/go.mod
	cd tools && go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

bin/versitygw: tools/go.mod
	cd tools && go build -o ../bin/versitygw github.com/versity/versitygw/cmd/versitygw
