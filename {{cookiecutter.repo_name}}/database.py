{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.database_purpose }}"""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """{{ t.database_base }}"""


# {{ t.database_why_here }}
# {{ t.database_transactions_1 }}
# {{ t.database_transactions_2 }}
db = SQLAlchemy(model_class=Base)
