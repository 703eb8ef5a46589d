# A newcomer needs `make demo` and `make test`. The other targets are for work on Osteon.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
TOOLKIT := $(VENV)/.toolkit
# the release that the training was tested with; a build for the CPU is enough
TORCH ?= torch==2.13.0

# One worker per processor. The tests of one file run in one worker and share its fixtures; tests/conftest.py
# starts the slow files first.
PARALLEL := -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations=10
# Coverage counts the code that runs in the processes of the tests, not in the roles that the tests start.
COVERAGE := --cov --cov-report=term:skip-covered

.PHONY: demo test coverage peers release check deb deb-gpu bundle lock kernels wheels test-gpu gpu-selfcheck benchmark \
	benchmark-gpu benchmark-safety fuzz clean

demo: $(INSTALLED)
	$(BIN)/osteon demo

# the suite, on all processors; tests that lack a program are listed at the end
test: peers
	$(BIN)/pytest $(PARALLEL)

# the suite with branch coverage, which takes half as long again: before a release
coverage: peers
	$(BIN)/pytest $(PARALLEL) $(COVERAGE)

peers: $(TESTABLE)
	-tests/peers/install.sh
	-test -e $(VENV)/.systemd || { $(BIN)/pip install --quiet --editable '.[systemd]' && touch $(VENV)/.systemd; }

# before a release, in hours: the suite with coverage, the artefacts in a real viewer, PostgreSQL, and the campaigns
release: coverage
	tests/peers/install.sh
	tests/release/install.sh
	$(BIN)/pytest -m release tests
	$(BIN)/pytest --databases=postgresql tests/integration
	$(MAKE) fuzz

check: $(TESTABLE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

kernels: $(TOOLKIT)
	$(BIN)/python -m kernels.build

# the Debian package, into build/deb
deb: $(INSTALLED)
	PIP="$(abspath $(BIN))/python -m pip" packaging/build-deb

# the same, and a second one with NVIDIA's packages for a GPU, which may not be passed on
deb-gpu: wheels
	PIP="$(abspath $(BIN))/python -m pip" packaging/build-deb gpu

# the packages, the documents and their signed checksums in one file: make bundle KEY=releases@example.org
bundle:
	packaging/build-bundle

# the versions and hashes that the package is built with: of the newest releases that pyproject.toml allows, without the
# codecs beside DALI, which have NVIDIA's own licences and are not used
NOT_USED := nvidia-libnvcomp-cu13 nvidia-nvimgcodec-cu13 nvidia-nvjpeg nvidia-nvjpeg2k-cu13 nvidia-nvtiff-cu13
lock: $(INSTALLED)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --extra systemd \
	    --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	    $(addprefix --no-emit-package=,$(NOT_USED)) --output-file packaging/requirements.lock pyproject.toml

# Osteon and everything it needs, for a box without network, compiler and CUDA toolkit (docs/install.md)
EXTRAS := systemd,gpu
wheels: $(TOOLKIT)
	$(BIN)/python -m provisioning.wheels dist/wheels --extras $(EXTRAS)

GPU_TESTS := $(addprefix tests/contract/,test_kernels.py test_runners.py on_a_gpu.py parity_on_a_gpu.py)
SANITIZER := compute-sanitizer --error-exitcode=1 --target-processes=all

# the packages for a GPU, from our own wheels, beside the checkout
OWN_WHEELS := --quiet --no-index --find-links dist/wheels
GPU_PACKAGES = $(BIN)/python -c 'import pycuda, pynvml, tensorrt_rtx' || \
	{ $(MAKE) wheels && $(BIN)/pip install $(OWN_WHEELS) --editable '.[gpu]'; }

test-gpu: $(TESTABLE) kernels
	$(GPU_PACKAGES)
	$(BIN)/pytest $(GPU_TESTS) --backends=reference,host,cuda
	command -v compute-sanitizer || { echo 'not run: compute-sanitizer is not installed' >&2; exit 0; }; \
	for tool in memcheck racecheck; do \
	    $(SANITIZER) --tool=$$tool $(BIN)/pytest tests/contract/test_kernels.py tests/contract/on_a_gpu.py -k 'cuda or gpu' --backends=cuda || exit 1; \
	done

# what support asks a hospital to run; STAND_IN=1 runs, on a machine without a card, what a stand-in driver can show
STAND_IN :=
gpu-selfcheck: $(if $(STAND_IN),$(TESTABLE)) kernels
	$(if $(STAND_IN),,$(GPU_PACKAGES))
	$(BIN)/python $(if $(STAND_IN),-m tests.support.driver $(BIN)/python) -m provisioning.gpu_selfcheck --out build/gpu-selfcheck

# the same stages on a GPU and on the CPU beside it
benchmark-gpu: $(TESTABLE) kernels
	$(BIN)/python -m tests.benchmarks.gpu

# the campaigns: 10,000 mutated instances, 2,000 mutated streams of PDUs, an outage with 2,000 studies
fuzz: $(TESTABLE)
	$(BIN)/pytest --campaign --timeout=14400 tests/faults/test_fuzz_network.py tests/faults/test_fuzz_instances.py \
	    tests/faults/test_outage.py

# the figures of docs/performance.md: the stages of the analysis, receiving, the whole box
benchmark: $(TESTABLE)
	$(BIN)/python -m tests.benchmarks.stages
	-tests/peers/install.sh
	$(BIN)/python -m tests.benchmarks.receive
	$(BIN)/python -m tests.benchmarks.rate

# unsafe answers on the labelled radiographs of OSTEON_DATA: about an hour
benchmark-safety: $(TESTABLE)
	$(BIN)/python -m tests.benchmarks.safety

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

# nvcc, of NVIDIA's toolkit if it is installed, else of its packages
$(TOOLKIT): $(INSTALLED)
	$(BIN)/python -c 'from kernels.build import nvcc; exit(nvcc() is None)' || \
	    $(BIN)/pip install --quiet --editable '.[toolkit]'
	touch $@

$(TESTABLE): $(INSTALLED)
	$(BIN)/pip install --quiet $(TORCH) --editable '.[dev,train]'
	touch $@

clean:
	rm -rf $(VENV) demo .coverage kernels/*.fatbin *.egg-info .pytest_cache .mypy_cache .ruff_cache tests/peers/node_modules tests/release/node_modules tests/release/ohif
