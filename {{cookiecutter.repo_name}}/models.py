{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.models_purpose }}"""
{%- if cookiecutter.example == "notes" %}

from datetime import datetime

from sqlalchemy import BigInteger, Computed, DateTime, Identity, Index, func
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from database import db

# {{ t.notes_search_language }}
SEARCH_LANGUAGE = "{{ t.postgres_text_search }}"


class Note(db.Model):
    """{{ t.notes_model }}"""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    # {{ t.notes_words_column }}
    words: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(f"to_tsvector('{SEARCH_LANGUAGE}'::regconfig, body)", persisted=True),
        deferred=True,
    )

    __table_args__ = (Index("ix_notes_words", "words", postgresql_using="gin"),)
{%- endif %}
