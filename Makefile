# The commands of this project; each sets up what it needs. `make help` lists them.

PYTHON ?= python3
SERVE  := .venv-serve
DEV    := .venv
PROTO  := .venv-proto
DOCS   := .venv-docs
LOCK   := .venv-lock
AUDIT  := .venv-audit
OUT    := proto/src
RUN    ?= runs/age_translator
DATA   ?= ../shared/data
LOAD   ?= start overload fairness memory soak kill reload
ATTACK ?=
SCALE  ?= 1
BENCH  ?=
LOCAL  := dorian-bundle dorian-proto dorian-server dorian-client dorian-gateway
LOCKS  := requirements/serve.lock requirements/build.lock
EDITABLE := --quiet --no-index --no-deps --no-build-isolation
SBOM   := build/sbom.cdx.json
SERVICE ?=
PYTEST ?=
WORKERS ?= auto
TESTS_DEV := tests/proto tests/training tests/export tests/evaluation tests/docs
TESTS_SERVE := tests/bundle tests/server tests/clients tests/gateway tests/e2e tests/bench tests/supply
FIGURES := docs/performance/figures.json
PARTS  := dorian_bundle dorian_server dorian_client dorian_training dorian_evaluation dorian_export dorian_gateway

.DEFAULT_GOAL := help
.PHONY: help demo serve gateway test test-all lint format proto docs bench load attack lock audit train gallery clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(SERVE)/done  ## start a server, age a photo through the SDK, leave demo/before_after.jpg
	$(SERVE)/bin/python examples/demo.py

serve: $(SERVE)/done  ## serve the embedded bundle on port 50051
	$(SERVE)/bin/dorian-server --bundle models/default

gateway: $(SERVE)/gateway  ## serve HTTP and the web page on port 8080, for a server on port 50051
	$(SERVE)/bin/dorian-gateway

test: $(SERVE)/test $(DEV)/done $(PROTO)/done  ## run the tests: training and export with torch, the rest without
	@failed=; \
	$(DEV)/bin/python -m pytest -n $(WORKERS) --dist loadscope $(TESTS_DEV) $(PYTEST) || failed=1; \
	$(SERVE)/bin/python -m pytest -n $(WORKERS) --dist loadscope $(TESTS_SERVE) $(PYTEST) || failed=1; \
	test -z "$$failed"

test-all: override PYTEST += -m "not gpu"
test-all: test  ## run all tests, those that take minutes as well

lint: $(DEV)/done  ## check style, types, import layers and the contract
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy $(PARTS:%=-p %)
	$(DEV)/bin/lint-imports --no-cache
	$(DEV)/bin/buf lint proto

format: $(DEV)/done  ## format the code
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

proto: $(PROTO)/done  ## generate the stubs from proto/dorian/v1
	$(PROTO)/bin/python -W ignore -m grpc_tools.protoc -Iproto \
		--python_out=$(OUT) --pyi_out=$(OUT) --grpc_python_out=$(OUT) proto/dorian/v1/*.proto
	@if command -v npm >/dev/null; then npm --prefix clients/typescript run --silent generate; \
	else echo "no npm here: the stubs of clients/typescript are as they were"; fi

docs: $(DOCS)/done  ## build the documentation site into build/site; warnings are errors
	$(DOCS)/bin/sphinx-build -q -W --keep-going -d build/doctrees docs build/site

bench: $(SERVE)/bench $(DEV)/done  ## compare servers, latent searches and ways to send a folder; writes docs/performance.md
	$(SERVE)/bin/python -m bench.serving --json $(FIGURES) $(BENCH)
	$(DEV)/bin/python -m bench.serving.document $(FIGURES)
	$(DEV)/bin/python bench/search.py
	$(SERVE)/bin/python -m bench.age_many --rounds 1 --threads 2 --threads 3 --broken 3

load: $(SERVE)/test  ## wear a server out for half an hour: starts, overload, fairness, memory, 20,000 calls, kills, reloads
	@failed=; for load in $(LOAD); do $(SERVE)/bin/python -m bench.load $$load || failed=1; done; test -z "$$failed"

attack: $(SERVE)/test  ## attack a server on this machine for ten minutes: ATTACK=pictures, requests, streams, quiet; writes build/attack.json
	@mkdir -p build
	$(SERVE)/bin/python -m bench.attack $(ATTACK) --scale $(SCALE) --json build/attack.json

lock: $(LOCK)/done  ## renew the locks, which say with hashes what the demo and the image install
	$(call compile,serve.lock,server.txt client.txt)
	$(call compile,gateway.lock,gateway.txt,serve.lock)
	$(call compile,build.lock,build.txt)

audit: $(AUDIT)/done  ## look for known vulnerabilities in what the locks name, and list it in build/sbom.cdx.json
	$(AUDIT)/bin/python requirements/audit.py $(LOCKS) requirements/gateway.lock --sbom $(SBOM) $(SERVICE:%=--service %)

train: $(DEV)/done  ## train the default method on DATA, into RUN
	$(DEV)/bin/dorian-train age-translator --data $(DATA) --facenet models/checkpoints/facenet \
		--age-estimator models/checkpoints/compact_age_estimator --age-judge models/checkpoints/age_estimator \
		--teacher models/checkpoints/ae_stylegan --skin-detail models/checkpoints/skin_detail \
		--teacher-reader models/checkpoints/style_reader --set adversarial_weight=0.2 --set cycle_weight=6 --out $(RUN)

gallery: $(SERVE)/done  ## age twelve people by every method, leave demo/gallery/
	$(SERVE)/bin/python examples/gallery.py

clean:  ## remove the environments and everything built
	rm -rf $(DEV) $(SERVE) $(PROTO) $(DOCS) $(LOCK) $(AUDIT) build demo

# For Python 3.11 and later, on every platform that the packages have files for. $(1): the lock; $(2): what it is made of;
# $(3): a lock whose versions it keeps to.
compile = $(LOCK)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(LOCAL:%=--no-emit-package %) $(3:%=-c requirements/%) -o requirements/$(1) $(2:%=requirements/%)

$(SERVE)/done: $(LOCKS) requirements/server.txt requirements/client.txt $(wildcard */pyproject.toml clients/python/pyproject.toml)
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/pip install --quiet --require-hashes $(LOCKS:%=-r %)
	$(SERVE)/bin/pip install $(EDITABLE) -r requirements/server.txt -r requirements/client.txt
	touch $@

$(SERVE)/gateway: requirements/gateway.lock requirements/gateway.txt $(SERVE)/done
	$(SERVE)/bin/pip install --quiet --require-hashes -r requirements/gateway.lock
	$(SERVE)/bin/pip install $(EDITABLE) -r requirements/gateway.txt
	touch $@

$(SERVE)/test: requirements/serve-test.txt $(SERVE)/gateway
	$(SERVE)/bin/pip install --quiet -r requirements/serve-test.txt
	touch $@

$(SERVE)/bench: requirements/bench.txt $(SERVE)/done
	$(SERVE)/bin/pip install --quiet -r requirements/bench.txt
	touch $@

$(DEV)/done: requirements/dev.txt $(wildcard */pyproject.toml clients/python/pyproject.toml)
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet -r requirements/dev.txt
	touch $@

$(PROTO)/done: requirements/proto.txt
	$(PYTHON) -m venv $(PROTO)
	$(PROTO)/bin/pip install --quiet -r requirements/proto.txt
	touch $@

$(LOCK)/done: requirements/lock.txt
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/pip install --quiet -r requirements/lock.txt
	touch $@

$(AUDIT)/done: requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet -r requirements/audit.txt
	touch $@

$(DOCS)/done: requirements/docs.txt proto/pyproject.toml clients/python/pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet -r requirements/docs.txt
	touch $@
