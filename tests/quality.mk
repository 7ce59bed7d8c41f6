# The quality gates: `make lint`, `make unit`, `make sanity`. Included by the Makefile, which has `setup-dev`.
# Each gate names what it runs; `make -k lint` goes on after the first tool that complains.

QUALITY_BIN ?= .venv/bin

.PHONY: lint lint-ansible lint-yaml lint-python lint-types lint-shell unit sanity docs

lint: lint-yaml lint-python lint-types lint-shell lint-ansible ## Check style and types of everything

lint-ansible: setup-dev
	$(QUALITY_BIN)/ansible-lint

lint-yaml: setup-dev
	$(QUALITY_BIN)/yamllint --strict .

lint-python: setup-dev
	$(QUALITY_BIN)/ruff check --output-format concise .
	$(QUALITY_BIN)/ruff format --check .

lint-types: setup-dev
	$(QUALITY_BIN)/mypy

lint-shell: setup-dev
	QUALITY_BIN=$(QUALITY_BIN) tests/lint_shell.sh

unit: setup-dev ## Run the unit tests (they start no host)
	tests/unit_prepare.sh
	$(QUALITY_BIN)/pytest --numprocesses=auto --dist=loadfile --junit-xml=.cache/junit/unit.xml

sanity: setup-dev ## Run ansible-test sanity on a copy of the collection
	$(QUALITY_BIN)/python tests/sanity/run.py

docs: setup-dev ## Write docs/roles.md anew from the argument specifications
	$(QUALITY_BIN)/python tests/roles_reference.py

.PHONY: bench
# Both are measured, also where the first does not reach what it should
bench: setup-dev ## Measure the lab, and the indexes against others: docs/figures.md, docs/performance.md
	@status=0; \
	$(QUALITY_BIN)/python tests/bench/run.py --up || status=1; \
	$(QUALITY_BIN)/python -m tests.bench.peers || status=1; \
	exit $$status
