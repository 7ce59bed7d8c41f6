# The verbs of this repository; `make help` lists them. What they do stands in molecule/shared and tests.
.DEFAULT_GOAL := help
LAB := molecule/shared

.PHONY: help setup setup-dev lock up url down clean molecule test

help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## Make .venv with what runs the playbooks
	@$(LAB)/setup

setup-dev: ## ... and with what the tests need
	@$(LAB)/setup dev

lock: setup ## Compile the lock files anew from their .in files
	@$(LAB)/lock

up: ## Bring up a fleet of hosts with a private index on it
	@$(LAB)/up

# INVENTORY=inventories/mine; SHOW_PASSWORDS=true; OPTIONS=--ask-vault-pass
INVENTORY ?= inventories/lab
url: setup ## Show the URLs of the indexes for applications, and whether they work
	@.venv/bin/ansible-playbook --inventory $(INVENTORY) $(OPTIONS) \
		--extra-vars show_urls_passwords=$(or $(SHOW_PASSWORDS),false) playbooks/show_urls.yml

down: ## Remove all that `make up` and the tests have made, .venv excepted
	@$(LAB)/down

clean: ## Remove .venv and the caches
	rm -rf .venv .cache

molecule: setup-dev ## Prove the playbooks on fleets of their own (scenarios: default, variant, airgap, container)
	@STEP=$(STEP) $(LAB)/scenarios $(SCENARIO)

test: lint unit sanity molecule ## Everything: lint, unit tests, sanity, molecule

-include tests/quality.mk
