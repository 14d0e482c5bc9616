# Everything that a person types. Logic lives in package.json scripts and in the tools they call.
.DEFAULT_GOAL := help
.PHONY: help install run test check lint format docs load chaos fuzz bench bench-peers suite images k8s k8s-cluster screenshots conformance

NODE_MODULES := node_modules/.package-lock.json

help: ## what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(NODE_MODULES): package-lock.json
	npm ci --no-fund --no-audit
	@touch $@

install: $(NODE_MODULES) ## what the lock file says, the runtime included

run: install ## the whole system on this machine, with the bundled model
	PATH="$(CURDIR)/node_modules/.bin:$$PATH" millrace dev

test: install ## every test; those of real processes need Linux
	npm test -- $(TEST_FLAGS)

check: install ## types
	npm run check

lint: install ## lint, the architecture's arrows included
	npm run lint

format: install ## rewrite the sources in the house's format
	npm run format

docs: install ## rewrite the generated pages
	npm run docs

load: install ## 100,000 requests against the row-identity checker
	TEST_SHARE=full npx vitest run --project system tests/row-identity.test.ts

chaos: install ## the failure tests at full length: twenty killed workers, killed brokers, each process of a whole system
	TEST_SHARE=full npx vitest run --project system tests/worker-loss.test.ts tests/broker-restart.test.ts tests/takeover.test.ts

fuzz: install ## a million hostile HTTP requests, every answer checked, the gateway's memory watched, ten minutes or so; FUZZ_SEED=1
	TEST_SHARE=full npx vitest run --project system tests/http-fuzz.test.ts

conformance: install ## tritonclient, perf_analyzer and schemathesis against a live system, and MLServer against millrace check; Python 3.11, Debian's libb64-0d; SUITES=tritonclient
	npx --no-install node tests/conformance/run.ts $(SUITES)

bench: install ## Millrace beside its peers and the machine's limits, about half an hour; raw results in bench/results
	npx --no-install node bench/run.ts $(BENCH_FLAGS)

suite: install ## the scheduler's suite on simulated devices, live, against its simulator; SUITE_FLAGS="--only B4 --workers 1,8"
	npx --no-install node bench/suite/run.ts $(SUITE_FLAGS)

bench-peers: ## the Python environments of the peers, pinned, in .cache/peers (2 GB)
	bench/peers/install

screenshots: install ## pictures of the broker's page under load, into .cache/screenshots; needs Chromium
	npx --no-install node tests/screenshots.ts

images: install ## the three container images, without a registry; needs root, buildah and mmdebstrap
	k8s/images/build

k8s: install ## manifests: rendered, held against Kubernetes' schema and our invariants
	npx vitest run --config k8s/vitest.config.ts --project manifests

k8s-cluster: install ## a real one-node cluster: scaling and rolling restarts under load; the first time builds it
	k8s/tests/run-cluster
