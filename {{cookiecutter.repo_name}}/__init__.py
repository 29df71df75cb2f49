{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.init_purpose }}

{{ t.init_why_flask_needs_it }}
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# {{ t.init_why_not_above }}
if str(HERE.parent) in sys.path:
    sys.path.remove(str(HERE.parent))
# {{ t.init_why_out_of_the_way }}
package = sys.modules.pop(__name__)

import main

sys.modules.setdefault(__name__, package)

# {{ t.init_why_two_names }}
sys.modules[f"{__name__}.main"] = main
