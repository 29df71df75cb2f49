{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.forms_purpose }}"""
{%- if cookiecutter.example == "notes" %}

from flask_wtf import FlaskForm
from wtforms import TextAreaField
from wtforms.validators import DataRequired, Length, ValidationError

MAX_LENGTH = 1000  # {{ t.notes_max_length }}


def no_nul(form, field):
    """{{ t.notes_no_nul }}"""
    if "\0" in field.data:
        raise ValidationError("{{ t.notes_bad_character }}")


class NoteForm(FlaskForm):
    """{{ t.notes_form }}"""

    # {{ t.notes_why_validators }}
    body = TextAreaField(
        "{{ t.notes_new }}",
        validators=[
            DataRequired("{{ t.notes_empty }}"),
            Length(max=MAX_LENGTH, message="{{ t.notes_too_long }}"),
            no_nul,
        ],
    )
{%- endif %}
