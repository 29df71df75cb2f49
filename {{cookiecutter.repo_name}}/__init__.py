"""Lets Flask's command line find the app although its root folder is a package.

Flask climbs out of every folder that holds an __init__.py and imports this project
as `<folder>.main`. So the folder itself goes on the import path, and `main` is
registered under both names: otherwise it would be loaded, and run, twice.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import main  # only found now that the line above has run

sys.modules[f"{__name__}.main"] = main
