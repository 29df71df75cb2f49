{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.database_purpose }}"""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# {{ t.database_why_names }}
NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "ix_%(column_0_label)s",
}


class Base(DeclarativeBase):
    """{{ t.database_base }}"""

    metadata = MetaData(naming_convention=NAMES)


# {{ t.database_why_here }}
# {{ t.database_transactions_1 }}
# {{ t.database_transactions_2 }}
db = SQLAlchemy(model_class=Base)
