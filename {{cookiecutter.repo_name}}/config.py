{%- import cookiecutter.language ~ "/words.jinja" as t -%}
{%- import "escape.jinja" as escape -%}
"""{{ t.config_purpose }}"""

from pathlib import Path

from dotenv import load_dotenv

# {{ t.config_why_dotenv }}
load_dotenv(Path(__file__).with_name(".env"))

PROJECT_NAME = {{ escape.python(cookiecutter.project_name) }}

# {{ t.config_max_content_length }}
MAX_CONTENT_LENGTH = 64 * 1024  # {{ t.bytes }}

# {{ t.config_time_zone }}
TIME_ZONE = "{{ t.time_zone }}"

# {{ t.config_extra_sources }}
EXTRA_SOURCES = {}

# {{ t.config_max_connections }}
MAX_CONNECTIONS = 15
{%- if cookiecutter.example == "notes" %}

# {{ t.notes_per_minute }}
NOTES_PER_MINUTE = 120
NOTES_PER_MINUTE_IN_ALL = 1000
{%- endif %}
