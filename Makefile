# What people do with this repository. `make test` needs Java 17 and Maven for a real Apache Kafka, Python, Node.js and Go for the foreign
# clients, and softhsm2 for PKCS#11; `make demo` needs Rust and a C toolchain only.

.PHONY: demo test unit blackbox bench lint

# An unoptimised build: it is ready several times sooner than a release build, and the demo is not about speed.
demo: ## A gateway with in-process brokers, a development authority and three clients; stays until Ctrl-C
	@echo "Building Barnabas and its Kafka client library (debug build; the first time takes some minutes) ..."
	@cargo build -p barnabas
	@cargo run --quiet -p barnabas -- demo $(DEMO)

test: unit blackbox ## Everything, against a real Apache Kafka

unit: ## What needs no broker
	cargo test --workspace --exclude barnabas-tests
	tests/second_reader/run.sh
	tests/second_verifier/run.sh

blackbox: ## The real binary before real brokers, two files of tests at a time
	tests/kafka/fetch.sh >/dev/null
	cargo build -p barnabas -p barnabas-tests
	cargo run --quiet -p barnabas-tests --bin blackbox

bench: ## Side by side with a direct connection and a relay; prints a table
	tests/bench/run.sh

lint: ## Format, lints as errors, licences and advisories
	.ci/lint
