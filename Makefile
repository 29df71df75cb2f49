# make demo: bake a project and serve it.   make test: the whole suite.   make quick: what takes less than a minute.
# All set up what they need.
# Some machines forbid Python to keep what it compiles: each of the hundreds of programs would compile its own again.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: demo test quick pythons lint readme situations facts pictures faults bench choices stale class

PYTHON ?= python3
PORT ?= 5000
BIN = .venv/bin
READY = .venv/ready
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
PACKAGES = cd tests && ../$(BIN)/python -c "import lab; lab.make_packages()"
CHECK = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

demo: $(READY)
	@echo "Baking a project with all default answers into demo/my-notes ..."
	@$(BIN)/cookiecutter . --no-input --default-config --overwrite-if-exists --output-dir demo
	@$(MAKE) --no-print-directory -C demo/my-notes run PORT=$(PORT) PYTHON="$(CURDIR)/$(BIN)/python"

test: $(READY) lint
	@echo "Installing the packages of a baked project into .cache (the first time takes about a minute) ..."
	@$(PACKAGES)
	@echo "Baking projects and running them: all tests, about twelve minutes ..."
	@start=$$(date +%s); $(PYTEST) && echo $$(($$(date +%s) - start)) > .cache/suite-seconds

quick: $(READY) lint
	@echo "Installing the packages of a baked project into .cache (the first time takes about a minute) ..."
	@$(PACKAGES)
	@echo "Baking projects: all tests but those that serve one, about a minute ..."
	@$(PYTEST) -m "not slow"

pythons: $(READY)
	@echo "Running a baked project on every Python that is here; about two minutes each ..."
	@$(BIN)/python tests/pythons.py $(PYTHONS)

lint: $(READY)
	@echo "Checking the style of the template's own code ..."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

readme: $(READY)
	@echo "Writing the table of checks into docs/doctor.md, and what the doctor says into the READMEs ..."
	@$(BIN)/python tests/readme.py

situations: $(READY)
	@echo "Showing the doctor what people do to their projects, and writing the table into docs/doctor.md; about six minutes ..."
	@$(BIN)/python tests/situations.py

facts: $(READY)
	@echo "Asking the package index for the modules and needs of the packages in tests/packages.txt; up to half an hour ..."
	@$(BIN)/python tests/package_facts.py

class: $(READY)
	@echo "Baking a class of 200, breaking 60 of the projects and checking all; about a minute ..."
	@STUDENTS=200 $(BIN)/python -m pytest -q -s tests/test_classroom.py -k a_third_is_broken

stale: $(READY)
	@echo "Looking for facts that are older than half a year ..."
	@$(BIN)/python tests/stale.py

bench: $(READY)
	@echo "Measuring a baked project; about ten minutes, leave the machine alone ..." >&2
	@$(BIN)/python bench/bench.py $(OPTIONS)

choices: $(READY)
	@echo "Measuring what the project could have done instead; about two minutes, leave the machine alone ..." >&2
	@$(BIN)/python bench/bench.py --choices $(OPTIONS)

faults: $(READY)
	@echo "Breaking the app in every way, under load, and writing the table into docs/faults.md; about three minutes ..."
	@$(BIN)/python tests/faults.py

pictures: $(READY)
	@echo "Taking pictures of all pages, in both languages and themes, and of the first minutes in a terminal; about two minutes ..."
	@$(BIN)/python tests/browser.py
	@$(BIN)/python tests/terminal.py

$(READY): requirements-dev.txt
	@$(PYTHON) -c "$(CHECK)" || { echo "Python 3.11 or newer with its venv module is needed (Debian: apt install python3-venv). To name one: make test PYTHON=python3.12"; exit 1; }
	@echo "Installing the tools into .venv (the first time takes about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement requirements-dev.txt || { echo "The packages could not be installed: check the network and run the same command again."; exit 1; }
	@touch $(READY)
