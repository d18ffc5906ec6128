BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help trial study sensitivity dossier test test-slow test-faults benchmark format lock clean setup

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

trial: setup ## run the three studies of evolocumab, end to end
	$(BIN)/cohort run laplace mendel yukawa

study: setup ## run one study: make study NAME=laplace
	$(BIN)/cohort run $(NAME)

sensitivity: setup ## fit a calibration again under other assumptions: make sensitivity NAME=laplace
	$(BIN)/cohort run $(or $(NAME),laplace)
	$(BIN)/cohort sensitivity config/studies/$(or $(NAME),laplace).yaml
	$(BIN)/cohort report config/studies/$(or $(NAME),laplace).yaml

dossier: setup ## the tests, and a study's dossier with what they showed: make dossier NAME=mendel
	$(BIN)/pytest -q -n 2 --dist loadfile --junitxml=results/tests.xml
	$(BIN)/cohort dossier config/studies/$(NAME).yaml --tests results/tests.xml --commit "$$(git rev-parse HEAD)" --pdf

test: setup ## lint, types and quick tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: setup ## the tests marked slow
	$(BIN)/pytest -m slow

test-faults: setup .tools/peers/.made ## kill, starve, corrupt and forge: what a run must survive and verify must see
	$(BIN)/pytest -m faults

.tools/peers/.made: tests/peers/requirements.lock
	tools/uv venv -q --clear --python .venv .tools/peers
	tools/uv pip sync -q --python .tools/peers --require-hashes $<
	touch $@

benchmark: setup ## measure engine, population and comparison beside others (half an hour; needs a C++ compiler)
	tools/uv pip install -q --python .venv --target .tools/benchmark --no-deps --require-hashes \
		--build-constraints benchmarks/requirements.lock -r benchmarks/requirements.lock
	PYTHONPATH=.tools/benchmark $(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.figure
	$(BIN)/python -m benchmarks.floor
	$(BIN)/python -m benchmarks.population
	$(BIN)/python -m benchmarks.comparison
	$(BIN)/python -m benchmarks.cipa

format: setup ## rewrite the code in the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## resolve requirements.lock again; versions that still fit stay (delete the file to renew all)
	tools/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.12 \
		--extra slurm --group test --group lint --group build pyproject.toml -o requirements.lock
	tools/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.12 \
		--group benchmark --constraints requirements.lock --no-binary numbalsoda --emit-build-options \
		$(addprefix --no-emit-package ,jax jaxlib llvmlite ml-dtypes numba numpy opt-einsum scipy) \
		-o benchmarks/requirements.lock
	tools/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.12 \
		--group pyproject.toml:peers -o tests/peers/requirements.lock

clean: ## remove the environment and the caches; results stay
	rm -rf .venv .tools .pytest_cache .ruff_cache .hypothesis dist
	find benchmarks cohort models tests -name __pycache__ -prune -exec rm -rf {} +

setup:
	@tools/setup
