"""`flask db migrate` sees new values of an Enum too, which Alembic does not compare.

https://alembic.sqlalchemy.org/en/latest/autogenerate.html#what-does-autogenerate-detect-and-what-does-it-not-detect
"""

from alembic.autogenerate import comparators
from alembic.operations.ops import ExecuteSQLOp
from sqlalchemy import ARRAY, Enum, inspect


class AddValue(ExecuteSQLOp):
    """A line of a migration: a type of PostgreSQL gets one value more."""

    def reverse(self):
        return ExecuteSQLOp("-- PostgreSQL cannot take a value out of a type again")


@comparators.dispatch_for("schema")
def add_values(context, upgrade_ops, schemas):
    """Add what the database's types lack of the models' Enums."""
    there = {
        row["name"]: row["labels"] for row in inspect(context.connection).get_enums()
    }
    columns = [c for table in context.metadata.sorted_tables for c in table.columns]
    kinds = [c.type.item_type if isinstance(c.type, ARRAY) else c.type for c in columns]
    for kind in kinds:
        if isinstance(kind, Enum) and kind.native_enum and kind.name in there:
            known = there[kind.name]
            for value in [value for value in kind.enums if value not in known]:
                known.append(value)
                name, text = kind.name.replace('"', '""'), value.replace("'", "''")
                upgrade_ops.ops.append(
                    AddValue(f"ALTER TYPE \"{name}\" ADD VALUE IF NOT EXISTS '{text}'")
                )
