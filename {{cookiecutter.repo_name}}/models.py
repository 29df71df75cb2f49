"""The tables. After a change here: flask db migrate, read the new file, flask db upgrade."""

from datetime import datetime

from sqlalchemy import BigInteger, Computed, DateTime, Identity, Index, func
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from database import db

# How words are cut to their stems, so that a search for one form finds the others.
SEARCH_LANGUAGE = "{{ 'russian' if cookiecutter.language == 'ru' else 'english' }}"


class Note(db.Model):
    """One note. Newer notes have higher ids."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    # The words of the body, kept by PostgreSQL itself; never loaded into the app.
    words: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(f"to_tsvector('{SEARCH_LANGUAGE}'::regconfig, body)", persisted=True),
        deferred=True,
    )

    __table_args__ = (Index("ix_notes_words", "words", postgresql_using="gin"),)
