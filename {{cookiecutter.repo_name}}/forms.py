{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.forms_purpose }}"""
{%- if cookiecutter.example == "notes" %}

import unicodedata

from flask_wtf import FlaskForm
from wtforms import TextAreaField
from wtforms.validators import DataRequired, Length, ValidationError

MAX_LENGTH = 1000  # {{ t.notes_max_length }}
# {{ t.notes_blank }}
BLANK = "\u2800\u3164\uffa0\u115f\u1160\U0001d159"


def line_breaks(text):
    """{{ t.notes_line_breaks }}"""
    return text and text.replace("\r\n", "\n")


def visible(form, field):
    """{{ t.notes_visible }}"""
    if "\0" in field.data:
        raise ValidationError("{{ t.notes_bad_character }}")
    letters = [c for c in field.data if unicodedata.category(c)[0] in "LNPS"]
    if not set(letters) - set(BLANK):
        raise ValidationError("{{ t.notes_empty }}")


class NoteForm(FlaskForm):
    """{{ t.notes_form }}"""

    # {{ t.notes_why_validators }}
    body = TextAreaField(
        "{{ t.notes_new }}",
        validators=[
            DataRequired("{{ t.notes_empty }}"),
            Length(max=MAX_LENGTH, message="{{ t.notes_too_long }}"),
            visible,
        ],
        filters=[line_breaks],
    )
{%- endif %}
