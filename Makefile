# Shorthand for what is done often. What the checks are stands in .ci/run.
.DEFAULT_GOAL := help
.PHONY: help check quick test lint vuln fuzz api contract telemetry demo bench bench-report conformance results together nethttp instructions

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## all checks that a change must pass, from install to readme (see CONTRIBUTING.md)
	@.ci/run

quick: ## the checks that take a minute: format, tidy, vet and the repository's own rules
	@.ci/run format tidy vet
	go test ./internal/repotest

test: ## the tests of all modules under the race detector, shuffled
	@.ci/run test

lint: ## the linters of .golangci.yml on all modules (the first run builds them)
	@.ci/run lint

vuln: ## govulncheck on all modules, where its database can be reached
	@.ci/run vuln

fuzz: ## each fuzz target for a short while; longer with FUZZ_TIME=10m
	@.ci/run fuzz

api: ## write the exported API of each package to api/, to be reviewed as a change
	go test -count=1 -run '^TestAPI$$' ./internal/repotest -update

contract: ## write the table from promises to tests in docs/CONTRACT.md
	go test -count=1 -run '^TestContract$$' ./internal/repotest -update

telemetry: ## write the tables of instruments and events in TELEMETRY.md
	go test -count=1 -run '^TestTelemetry$$' ./internal/repotest -update

demo: ## a storefront with and without the library while an upstream hangs, in a minute
	go run ./examples/storefront

bench: ## the benchmarks beside those of other libraries, as Go benchmarks; some with BENCH='breaker|retry'
	go test -run '^$$' -bench 'Rows/($(BENCH))' ./bench

bench-report: ## write BENCHMARKS.md, in about five minutes on a quiet machine
	go run ./bench/cmd/report
	go test -count=1 -run '^TestREADMEFigures$$' ./internal/repotest -update

conformance: ## write docs/CONFORMANCE.md: which libraries keep which promises
	go test -count=1 -run '^TestConformance$$' ./bench/conformance -update

results: ## write docs/RESULTS.md: published results beside those of this library, in less than a minute
	go test -count=1 ./examples/results -update

together: ## write docs/TOGETHER.md: the parts together beside plain net/http, in about six minutes
	go test -count=1 -timeout 30m ./examples/together -update
	go test -count=1 -run '^TestREADMETogether$$' ./internal/repotest -update

nethttp: ## write docs/NETHTTP.md: which of net/http's own tests differ behind the guards, and why; in a quarter of an hour
	go run ./bench/cmd/nethttp

instructions: ## the instructions of the hot paths against bench/instructions.txt
	go run ./bench/cmd/instructions
