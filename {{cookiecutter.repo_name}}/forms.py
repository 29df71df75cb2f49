{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.forms_purpose }}"""
{%- if cookiecutter.example == "notes" %}

from flask_wtf import FlaskForm
from wtforms import TextAreaField
from wtforms.validators import DataRequired, Length, ValidationError

MAX_LENGTH = 1000  # {{ t.notes_max_length }}
BLANK = " \N{BRAILLE PATTERN BLANK}\N{HANGUL FILLER}\N{HALFWIDTH HANGUL FILLER}"


def line_breaks(text):
    """{{ t.notes_line_breaks }}"""
    return text and text.replace("\r\n", "\n")


def visible(form, field):
    """{{ t.notes_visible }}"""
    if "\0" in field.data:
        raise ValidationError("{{ t.notes_bad_character }}")
    if not any(c.isprintable() and c not in BLANK for c in field.data):
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
