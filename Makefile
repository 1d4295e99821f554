# make demo   the whole story through the real binaries, on a loopback server with SQLite
# make test   all tests, then those that work with either store on DynamoDB; what is skipped, and why, stands at the end
# make build | lint | bench | fuzz | venv | dynamodb | clean

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X breakglass/internal/version.Version=$(VERSION) -X breakglass/internal/version.Commit=$(COMMIT)
# The race detector needs a C compiler; without one the tests run all the same.
RACE      = $(shell command -v gcc >/dev/null 2>&1 && [ "$$($(GO) env CGO_ENABLED)" = 1 ] && echo -race)
FUZZTIME ?= 20s

.PHONY: build test demo lint bench fuzz venv dynamodb clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/breakglassd ./cmd/bgctl

demo: build
	scripts/demo.sh

# The Python tools (AWS emulator, AWS CLI, schemathesis), the identity provider and
# what a desktop has are for some tests alone.
# Without them those tests are skipped; BREAKGLASS_REQUIRE_EMULATORS=1 makes that a failure.
venv:
	scripts/venv.sh
	scripts/oidc.sh
	scripts/desktop.sh

# The DynamoDB emulator is for the tests of that store. It needs Rust.
dynamodb:
	scripts/dynamodb.sh

test:
	scripts/test.sh $(RACE)

lint:
	scripts/lint.sh

bench:
	scripts/bench.sh

fuzz:
	scripts/fuzz.sh $(FUZZTIME)

clean:
	rm -rf bin .cache
