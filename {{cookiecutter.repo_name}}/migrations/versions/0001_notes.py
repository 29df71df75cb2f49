"""The table of notes, with an index for the search.

Revision ID: 0001
Revises:
Create Date: 2026-11-22
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "notes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('{{ 'russian' if cookiecutter.language == 'ru' else 'english' }}'::regconfig, body)",
                persisted=True,
            ),
            nullable=False,
        ),
    )
    op.create_index("ix_notes_words", "notes", ["words"], postgresql_using="gin")


def downgrade():
    op.drop_table("notes")
