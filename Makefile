# The doors for people. `make help` lists them; PYTHON=… names another Python than python3.

.DEFAULT_GOAL := help
.PHONY: help run test faults check fuzz mutants bench docs schema lock assets

UV ?= uv
python := .venv/bin/python
pytest := $(python) -m pytest --quiet --numprocesses auto --dist loadgroup
bootstrap := sh deploy/python.sh deploy/bootstrap.py
lock := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# What `make check` needs to load the settings, as in production; nothing is written outside var/.
production := env DEBUG=false SECRET_KEY=for-checks-only-$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') \
	JWT_SIGNING_KEYS=check:$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') ALLOWED_HOSTS=example.org SECURE_SSL_REDIRECT=true SECURE_HSTS_SECONDS=31536000 TRUSTED_PROXIES=127.0.0.1 \
	ENV_FILE=/dev/null STATE_DIR=var/check DATABASE_URL= HUEY_URL=

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: ## Set everything up and serve on HOST:PORT (127.0.0.1:8000) until Ctrl-C
	@$(bootstrap) requirements.txt
	@$(python) deploy/assets.py || echo "warning: the GraphiQL page and the charts are not there yet (see above); everything else works"
	@LOCAL_RUN=true exec $(python) manage.py serve

test: ## Run all tests on SQLite, then those that touch the database on PostgreSQL
	@$(bootstrap) requirements.txt requirements-dev.txt
	@$(python) deploy/assets.py || echo "warning: without them the tests of the GraphiQL page are skipped"
	@failed=0; $(pytest) || failed=1; TEST_STORE=postgresql $(pytest) || failed=1; exit $$failed

faults: ## Kill, stop and fill up everything the service needs, under load (some minutes)
	@$(bootstrap) requirements.txt requirements-dev.txt
	@$(python) -m pytest tests/faults

check: ## Check style, types, layers, schema, migrations, settings and documents
	@$(bootstrap) requirements.txt requirements-dev.txt
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(production) $(python) -m mypy
	$(production) .venv/bin/lint-imports
	$(production) $(python) manage.py export_schema schema.root:schema | diff schema.graphql - \
		|| { echo "error: schema.graphql is not what the code says: run make schema"; exit 1; }
	$(production) $(python) manage.py makemigrations --check --dry-run
	$(production) $(python) manage.py check --deploy --fail-level WARNING
	$(python) -m pytest --quiet tests/project/test_documents.py tests/test_docs.py
	@$(MAKE) --no-print-directory docs

fuzz: ## Try 50,000 hostile inputs on every parser and on the schema (some minutes)
	@$(bootstrap) requirements.txt requirements-dev.txt
	FUZZ=true $(pytest) tests/fuzz

mutants: ## Ask whether the tests notice small changes to the code (about an hour)
	@$(bootstrap) requirements.txt requirements-dev.txt requirements-mutation.txt
	@$(python) deploy/mutants.py

bench: ## Measure everything and write docs/results.md (half an hour; QUICK=1: small, into var/bench)
	@$(bootstrap) requirements.txt requirements-dev.txt requirements-bench.txt
	@cmp --quiet requirements-peers.txt var/peers/installed || { \
		echo "Installing requirements-peers.txt aside"; \
		$(python) -m pip --disable-pip-version-check --quiet install --upgrade --target var/peers \
			--require-hashes --requirement requirements-peers.txt \
		&& cp requirements-peers.txt var/peers/installed; }
	@$(python) -m benchmarks $(if $(QUICK),--quick)

docs: ## Build the documentation as a site, in var/site
	@$(bootstrap) requirements.txt requirements-docs.txt
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --quiet --strict --site-dir var/site

schema: ## Write schema.graphql from the code
	@$(bootstrap) requirements.txt
	$(production) $(python) manage.py export_schema schema.root:schema > schema.graphql

lock: ## Compile requirements*.txt from pyproject.toml (needs uv)
	$(lock) --extra service --extra metrics pyproject.toml --output-file requirements.txt
	$(lock) --group dev --constraints requirements.txt --output-file requirements-dev.txt
	$(lock) --group docs --constraints requirements.txt --constraints requirements-dev.txt --output-file requirements-docs.txt
	$(lock) --group bench --constraints requirements-dev.txt --output-file requirements-bench.txt
	$(lock) --group peers --constraints requirements-dev.txt --output-file requirements-peers.txt
	$(lock) --group mutation --constraints requirements.txt --constraints requirements-dev.txt --output-file requirements-mutation.txt
	$(lock) --group node --output-file requirements-node.txt

assets: ## Fetch what the GraphiQL page and the charts load
	@$(bootstrap) requirements.txt
	$(python) deploy/assets.py
