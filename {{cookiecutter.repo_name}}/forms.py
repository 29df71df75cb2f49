{%- set ru = cookiecutter.language == "ru" -%}
"""The forms: what a visitor may send, checked before anything else sees it."""

from flask_wtf import CSRFProtect, FlaskForm
from wtforms import TextAreaField
from wtforms.validators import DataRequired, Length, ValidationError

MAX_LENGTH = 1000  # characters in a note

# Refuses every POST that does not carry the token of one of our own pages.
csrf = CSRFProtect()


def no_nul(form, field):
    """PostgreSQL's text cannot hold the character NUL."""
    if "\0" in field.data:
        raise ValidationError(
            "{{ 'В тексте есть недопустимый символ.' if ru else 'The text holds a character that cannot be stored.' }}",
        )


class NoteForm(FlaskForm):
    """A new note."""

    body = TextAreaField(
        "{{ 'Новая заметка' if ru else 'New note' }}",
        validators=[
            DataRequired("{{ 'Напишите что-нибудь.' if ru else 'Write something first.' }}"),
            Length(
                max=MAX_LENGTH,
                message="{{ 'Не длиннее %(max)d символов.' if ru else 'At most %(max)d characters.' }}",
            ),
            no_nul,
        ],
    )
