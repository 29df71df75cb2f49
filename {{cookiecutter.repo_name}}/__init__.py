{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.init_purpose }}

{{ t.init_why_flask_needs_it }}
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# {{ t.init_why_out_of_the_way }}
package = sys.modules.pop(__name__)

import main

sys.modules.setdefault(__name__, package)

# {{ t.init_why_two_names }}
sys.modules[f"{__name__}.main"] = main
