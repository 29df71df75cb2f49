"""Checks of the migrations: can Alembic run them, on an empty database too (step 7 of the guide)?"""

import ast
import posixpath
import re
from collections import Counter

from doctor import FACTS, check
from doctor.files import once
from doctor.imports import parse_error
from doctor.models import in_migrations, models, tables
from doctor.pages import on_start_page
from doctor.project import is_code
from doctor.trees import first_value, last_name, name_of_target, strings, unparse, walk

# What makes a change of a table depend on what is there, or of another schema.
GUARDS = {"if_not_exists", "if_exists", "schema"}
MIGRATIONS = FACTS["migrations"]
ROOT = "migrations/versions"  # where Flask-Migrate looks, whatever lies elsewhere
LONGEST = 32  # characters of a revision, for which Alembic makes a column
KEYS = ("ForeignKey", "ForeignKeyConstraint")
# Operations on a table, and which of their arguments names it.
TABLE_AT = {"create_table": 0, "drop_table": 0, "add_column": 0, "drop_column": 0}
TABLE_AT |= {"alter_column": 0, "batch_alter_table": 0, "create_index": 1}
TABLE_AT |= {"create_unique_constraint": 1, "create_foreign_key": 1}
SQL = re.compile(r"(?i)\b(create|drop|alter)\s+(\w+\s+)?table\b")


@once
def revisions(project):
    """Return {path: (revision, the revisions before it)} of the migrations."""
    found = {}
    for path, tree in project.trees.items():
        values = {}
        for node in tree.body if "versions/" in path else ():
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
                target = getattr(node, "target", None) or node.targets[0]
                values[last_name(target)] = strings(node.value)
        if values.get("revision"):
            found[path] = (values["revision"][0], values.get("down_revision", []))
    # Of a very large project not all is parsed.
    for path in project.contents.keys() - project.trees.keys() - project.broken.keys():
        if is_version(path):
            texts = dict(
                re.findall(r"(?m)^(revision|down_revision)\b(.*)", project.text(path))
            )
            own, down = (
                re.findall(r"[\"'](\w+)[\"']", texts.get(name, ""))
                for name in ("revision", "down_revision")
            )
            found |= {path: (own[0], down)} if own else {}
    folders = {posixpath.dirname(path) for path in found}
    if (
        len(folders) > 1
        and ROOT in folders
        and not project.calls_any("version_locations")
    ):
        return {
            path: row for path, row in found.items() if posixpath.dirname(path) == ROOT
        }
    return found


def is_version(path):
    """Tell whether a file may be a migration."""
    return "versions/" in path and is_code(path)


def all_read(project):
    """Tell whether all migrations were read and parsed."""
    files = set(filter(is_version, project.sizes))
    return {*revisions(project)} <= project.trees.keys() and files <= {
        *project.contents
    }


@once
def sql_of_files(project):
    """Return the text of the files that the migrations run, None where nobody knows which: it may make anything."""
    found = []
    for path in revisions(project).keys() & project.trees.keys():
        tree = project.trees[path]
        if calls_of(tree, "open", "read_text", "read_bytes"):
            named = [t for t in strings(tree) if re.search(r"\.(sql|csv|json)$", t)]
            ends = {*map(posixpath.basename, named)}
            files = [p for p in project.contents if posixpath.basename(p) in ends]
            if not ends or len(files) != len(ends):
                return None
            found += [project.text(p) for p in files if p.endswith(".sql")]
    return "\n".join(found)


@check("H903", step=7)
def table_without_migration(project):
    yield from django_tables(project)
    if not revisions(project) and "flask-migrate" not in project.list.packages:
        return  # the tables are made in another way
    sql = sql_of_files(project)
    if project.calls_any("create_all") or sql is None or not all_read(project):
        return
    written = in_migrations(project)
    if not written and not project.has_folder("migrations"):
        return
    for path, node, table, _ in [*models(project), *tables(project)]:
        if table in written or path not in project.running.reached:
            continue
        if re.search(rf"(?i)\b{re.escape(table)}\b", sql):
            continue
        if "__bind_key__" not in unparse(node):  # else it lies in another database
            view = "view" in table.lower().split("_")  # made by hand, to be read only
            level = "warning" if view else "error"
            yield path, node.lineno, {"table": table}, level


def django_tables(project):
    """Yield the models of Django's apps that no migration makes, a warning."""
    commands = " ".join(command.text for command in project.commands)
    made = re.search("makemigrations|syncdb", commands + "".join(project.build_hooks))
    if made or "django" not in project.available[0]:
        return
    yield from django_apps_without_migrations(project)
    for path, tree in project.app_trees.items():
        folder, _, name = path.rpartition("/")
        if name != "models.py":
            continue
        found = [p for p in project.trees if p.startswith(f"{folder}/migrations/")]
        text = "".join(map(project.text, found))
        for node in tree.body:
            bases = map(unparse, getattr(node, "bases", ()))
            inner = unparse(node).partition("class Meta")[2]
            other = re.search(r"(abstract|proxy) = True|managed = False", inner)
            is_model = isinstance(node, ast.ClassDef) and "models.Model" in bases
            named = is_model and re.search(
                rf"['\"]{node.name}['\"]", text, re.IGNORECASE
            )
            if is_model and not other and not named and len(found) > 1:
                yield path, node.lineno, {"table": node.name}, "warning"


def django_apps_without_migrations(project):
    """Yield the first model of an app of Django's whose migrations are not pushed: `migrate` makes no table."""
    apps = project.running.settings.get("INSTALLED_APPS", [])
    named = {n.partition(".apps.")[0] for _, value in apps for n in strings(value)}
    elsewhere = " ".join([*project.constants, *project.list.packages])
    if re.search(r"djongo|mongo|MIGRATION_MODULES", elsewhere):
        return
    migrates = any("migrate" in command.text for command in project.commands)
    # What .gitignore holds back nobody will push.
    held = re.search(r"(?m)^[^#\n]*\bmigrations\b", project.text(".gitignore"))
    for name in sorted(named):
        path = f"{name.replace('.', '/')}/models.py"
        folder = f"{posixpath.dirname(path)}/migrations/"
        pushed = any(p.startswith(folder) for p in project.sizes)
        for node in project.trees[path].body if path in project.trees else ():
            bases = map(unparse, getattr(node, "bases", ()))
            other = re.search(r"(abstract|proxy) = True|managed = False", unparse(node))
            if "models.Model" in bases and not other and not pushed:
                files = [p for p in project.app_trees if node.name in project.text(p)]
                sure = migrates and held and len(files) > 1
                level = "error" if sure else "warning"
                yield path, node.lineno, {"table": node.name}, level
                break


@check("H921", step=7)
def tables_made_before_the_migrations(project):
    """db.create_all() in the factory: the release loads it, and its first migration finds the tables there."""
    upgrades = [
        c
        for c in project.commands
        if c.program == "flask" and c.arguments[:2] == ["db", "upgrade"]
    ]
    first = upgrades and any(
        not any(word.arg == "if_not_exists" for word in call.keywords)
        for path, tree in project.trees.items()
        if "/versions/" in path
        for call in calls_of(tree, "create_table")
    )
    loaded = [root.below() for c, root in project.running.roots if c in upgrades]
    unnamed = not all(c.option("-A", "--app") for c in upgrades)
    for use in project.running.loading.calls if first else ():
        of = use.of == "flask_sqlalchemy.SQLAlchemy.create_all"
        # create_all("statistics") makes those of another database.
        of = of and not use.node.args and not use.node.keywords
        # Where nothing names its app, flask looks for one by itself.
        near = unnamed or any(use.module in found for found in loaded)
        if of and near and "try" not in use.guards:
            yield use.path, use.node.lineno, {}
            return


# Ways to ask for some columns only.
SOME_COLUMNS = re.compile(
    r"\.(with_entities|with_only_columns)\(|\b(load_only|defer)\("
    r"|(query|select)\b.*\.exists\("
)


@check("H906", step=7, level="warning")
def column_without_migration(project):
    written = in_migrations(project) if all_read(project) else ()
    computed = [
        call
        for path in revisions(project).keys() & project.trees.keys()
        for call in calls_of(project.trees[path], "Column")
        if not isinstance(first_value(call), str)
    ]
    sql = sql_of_files(project)
    made = project.calls_any("create_all") or sql is None
    written = () if computed or made else written
    for path, node, table, columns in models(project):
        in_sql = sql and re.search(rf"(?i)\b{re.escape(table)}\b", sql)
        known = table in written and not in_sql
        lost = columns.keys() - written if known else set()
        later = {n.lineno for n in node.body if lost and "deferred" in unparse(n)}
        first = {name for name in lost if columns[name] not in later}
        asked = (
            first and project.is_sure(path) and is_asked_for(project, node.name, first)
        )
        for name, line in columns.items():
            if name in lost:
                level = "error" if asked else "warning"
                yield path, line, {"table": table, "column": name}, level


def is_asked_for(project, model, columns):
    """Tell whether the start page surely asks the database for whole rows of a model, or for one of its columns."""
    whole = re.compile(
        rf"(\w+\.)*(select|query|get|get_or_404|first_or_404)\({model}\b(?!\.)|{model}\.query\."
    )
    some = {f"{model}.{name}" for name in columns}
    texts = [project.text(p) for p in project.app_trees if not p.startswith("deploy/")]
    if any(map(SOME_COLUMNS.search, texts)):
        return False

    def asks(node):
        if isinstance(node, ast.Attribute):
            return unparse(node) in some
        return isinstance(node, ast.Call) and whole.match(unparse(node))

    # Queries that are made once, above the views.
    kept = {
        name_of_target(node)
        for path in project.app_trees
        for node in project.trees[path].body
        if isinstance(node, ast.Assign) and any(map(asks, walk(node.value)))
    }

    def comes_to(node):
        return asks(node) or isinstance(node, ast.Name) and node.id in kept

    return on_start_page(project, comes_to, (ast.Call, ast.Attribute, ast.Name))


@check("H936", step=7, level="warning")
def value_without_migration(project):
    """A new member of an Enum: Alembic does not compare it with the type in the database."""
    words = {word.arg for _, word in project.nodes(ast.keyword)}
    unknown = not all_read(project) or sql_of_files(project) != ""
    if unknown or "values_callable" in words:
        return
    types = {
        word.value.value
        for path in revisions(project)
        for call in calls_of(project.trees[path], "Enum", "ENUM")
        for word in call.keywords
        if word.arg == "name" and isinstance(first_value(call), str)
        if isinstance(word.value, ast.Constant)
    }
    for path, node in project.nodes(ast.ClassDef):
        is_enum = any(last_name(base).endswith("Enum") for base in node.bases)
        for line in node.body if is_enum and node.name.lower() in types else ():
            name = isinstance(line, ast.Assign) and last_name(line.targets[0])
            if name and name[0] != "_" and name not in in_migrations(project):
                details = {"type": node.name.lower(), "value": name}
                yield path, line.lineno, details


@check("H904", step=7)
def two_heads(project):
    if list(migration_without_its_parent(project)):
        return  # that is the reason
    if any("heads" in command.arguments for command in project.commands):
        return  # it takes them all
    found = revisions(project)
    before = {name for _, down in found.values() for name in down}
    heads = {path: name for path, (name, _) in found.items() if name not in before}
    if len(set(heads.values())) > 1:  # a copy with the same name is for H907
        details = {"heads": ", ".join(sorted(heads.values()))}
        yield max(heads), 0, details, of_migrations(project)


@check("H907", step=7)
def migration_without_its_parent(project):
    """Alembic stops where a migration follows one whose file is not there, or two have one name."""
    found = revisions(project)
    names = Counter(name for name, _ in found.values())
    for path, (name, down) in sorted(found.items()):
        lost = [
            parent
            for parent in down
            if parent not in names and not re.fullmatch(r"[0-9a-f]{4,11}", parent)
        ]
        shortened = [
            p
            for p in down
            if p not in names
            and p not in lost
            and not any(n.startswith(p) for n in names)
        ]
        if lost or shortened:
            details = {"name": (lost + shortened)[0]}
            yield path, 0, details, of_migrations(project)


@check("H909", step=7)
def migration_in_two_files(project):
    found = revisions(project)
    names = Counter(name for name, _ in found.values())
    for name in sorted(name for name, count in names.items() if count > 1):
        files = sorted(path for path, (own, _) in found.items() if own == name)
        yield files[-1], 0, {"name": name, "files": ", ".join(files)}


@check("H910", step=7)
def migration_that_does_not_load(project):
    """Alembic loads every file of the folder, and needs a revision in each; no circles."""
    found = revisions(project)
    own_table = any(
        "version_table" in project.text(p)
        for p in project.trees
        if p.endswith("env.py")
    )
    for path, (name, _) in sorted(found.items()):
        if len(name) > LONGEST and not own_table:
            error = f"revision: {len(name)} > {LONGEST} (alembic_version.version_num)"
            details = {"name": path, "error": error}
            yield path, 0, details, of_migrations(project)
    folders = {posixpath.dirname(path) for path in found}
    loaded_aside = re.compile(r"(__init__|\.#).*|[a-f0-9]+\.py")
    for path in sorted(project.sizes):
        folder, name = posixpath.split(path)
        if folder not in folders or path in found or not name.endswith(".py"):
            continue
        if path in project.broken and path not in project.running.reached:
            line, error, certain = parse_error(project, path)
            if certain:
                details = {"name": path, "error": error}
                yield path, line, details, of_migrations(project)
        elif path in project.trees and not loaded_aside.fullmatch(name):
            details = {"name": path, "error": "revision = ?"}
            yield path, 0, details, of_migrations(project)
    before = {name: [d for d in down if d] for name, down in found.values()}
    for path, (name, _) in sorted(found.items()):
        circle = [name]
        while len(circle) <= len(found) and (down := before.get(circle[-1])):
            circle.append(down[0])
            if down[0] == name:
                yield path, 0, {"name": path, "error": " → ".join(circle)}
                return


@check("H911", step=7)
def table_made_twice(project):
    """On an empty database: what upgrade() makes again, or drops where nothing made it."""
    found = {name: (path, down) for path, (name, down) in revisions(project).items()}
    stamps = any("stamp" in command.arguments for command in project.commands)
    if not all_read(project) or stamps:
        return
    trees = [project.trees[path] for path, _ in found.values()]
    if any("rename_table" in unparse(tree) for tree in trees):
        return
    in_sql = "\n".join(t for tree in trees for t in strings(tree) if SQL.search(t))
    # What is made under a condition, in a loop or by a helper may be there.
    certain = {id(c) for tree in trees for c, _ in table_changes(tree)}
    calls = [call for tree in trees for call in calls_of(tree, "create_table")]
    maybe = {first_value(call) for call in calls if id(call) not in certain}
    unsure = not all(isinstance(table, str) for table in maybe)
    elsewhere = (
        unsure
        or sql_of_files(project) != ""
        or project.calls_any("create_all", "reflect")
        or "alembic" not in project.available[0]
    )
    elsewhere = elsewhere or any(
        "include_object" in project.text(p) for p in project.trees
    )
    loosens = ("drop_constraint", "execute", "batch_alter_table")
    loosened = any(calls_of(tree, *loosens) for tree in trees)
    done, there, columns, keys = set(), set(), {}, {}
    while ready := [
        name
        for name, (_, down) in found.items()
        if name not in done and not ({*down} & found.keys()) - done
    ]:
        for name in sorted(ready):
            done.add(name)
            path = found[name][0]
            for call, table in table_changes(project.trees[path]):
                kind = last_name(call.func)
                if kind == "create_table":
                    columns[table] = set(columns_in(call))
                    keys[table] = pointed_to(call) - {table}
                elif kind == "drop_table":
                    columns.pop(table, None)
                    keys.pop(table, None)
                    if not loosened and any(table in to for to in keys.values()):
                        # A foreign key of another table is in the way.
                        details = {"call": shown(call, table)}
                        yield path, call.lineno, details, of_migrations(project)
                elif kind in ("drop_column", "alter_column"):
                    keys.pop(table, None)  # which may drop the key
                for change in changes_within(project.trees[path], call):
                    known, name = (
                        columns.get(table, set()),
                        next(columns_in(change), ""),
                    )
                    if last_name(change.func) != "add_column":
                        columns.pop(table, None)
                        continue
                    elif name in known and table not in in_sql:
                        details = {"call": f'{unparse(change.func)}("{name}")'}
                        yield path, change.lineno, details, of_migrations(project)
                    known.add(name)
                if kind not in ("create_table", "drop_table"):
                    # What makes the others is not to be seen where code makes tables too.
                    known = elsewhere or table in there | maybe or table in in_sql
                    if not known:
                        details = {"call": shown(call, table)}
                        yield path, call.lineno, details, of_migrations(project)
                    continue
                made = kind == "create_table"
                if made == (table in there) and table not in in_sql:
                    # An older database may have a table that no migration made.
                    level = of_migrations(project) if made else "warning"
                    yield path, call.lineno, {"call": shown(call, table)}, level
                there = there | {table} if made else there - {table}


@check("H915", step=7, level="warning")
def column_without_a_value(project):
    """NOT NULL, but what stands in the rows that are there already? The release fails over them."""
    emptied = {
        (path, table)
        for path, call in operations(project, "execute")
        for text in strings(call)
        for table in re.findall(r"(?i)^\s*(?:DELETE FROM|TRUNCATE) (\w+)\s*;?$", text)
    }
    for path, call in operations(project, "add_column"):
        if (path, first_value(call)) in emptied:
            continue
        for column in calls_of(call, "Column"):
            words = {word.arg: word.value for word in column.keywords}
            needed = getattr(words.get("nullable"), "value", True) is False
            computed = {type_of(n) for n in column.args} & {
                "Computed",
                "Identity",
                "Sequence",
            }
            if needed and not computed and not {"server_default", None} & words.keys():
                yield path, call.lineno, {"what": unparse(column)[:70]}


@check("H935", step=7, level="warning")
def migrations_in_the_build(project):
    """bin/post_compile runs them: at the first push the database may not be there yet."""
    for name in ("bin/pre_compile", "bin/post_compile"):
        for number, line in project.lines(name):
            runs = re.search(
                r"\b(flask|alembic)\b.* upgrade\b|manage\.py migrate\b", line
            )
            told = re.match(r"\s*(echo\b|#)", line)
            if runs and not told and "DATABASE_URL" not in project.text(name):
                yield name, number, {"what": line.strip()[:60]}


@check("H934", step=7, level="warning")
def unique_where_rows_are(project):
    """Equal values in the rows that are there, and the release fails over them."""
    # Others deal with the rows first.
    for path, calls in last_upgrades(project, "execute", "get_bind", "bulk_insert"):
        new = [c for c in calls if last_name(c.func) in ("create_table", "add_column")]
        made = {name for call in new for name in columns_in(call)}
        made |= {first_value(c) for c in new if last_name(c.func) == "create_table"}
        for call in calls:
            words = {w.arg: getattr(w.value, "value", None) for w in call.keywords}
            index = last_name(call.func) == "create_index" and words.get("unique")
            if not index and last_name(call.func) != "create_unique_constraint":
                continue
            if not made & {*strings(call)}:
                yield path, call.lineno, {"what": unparse(call)[:70]}


@check("H933", step=7, level="warning")
def column_renamed_by_dropping_it(project):
    """What `flask db migrate` makes of a new name: a new column, and the old one is gone with all that was in it."""
    made = types_made(project)
    # Others take the values along.
    for path, calls in last_upgrades(project, "execute", "get_bind"):
        new = [
            (first_value(call), first_value(column), unparse(column.args[1]))
            for call in calls
            for column in calls_of(call, "Column")
            if last_name(call.func) == "add_column" and len(column.args) > 1
        ]
        for call in calls:
            kind = made.get(place_of(call))
            if last_name(call.func) != "drop_column" or kind is None:
                continue
            table, old = place_of(call)
            like = [n for other, n, of in new if (other, of) == (table, unparse(kind))]
            if len(like) == 1:
                details = {"table": table, "old": old, "new": like[0]}
                yield path, call.lineno, details


def not_within_a_transaction(project):
    """Yield what PostgreSQL does outside of a transaction only, where Alembic runs every migration in one.

    https://www.postgresql.org/docs/current/sql-createindex.html (CONCURRENTLY)
    """
    env = "".join(project.text(p) for p in project.trees if p.endswith("/env.py"))
    if re.search("(?i)autocommit", env):
        return
    alone = re.compile(MIGRATIONS["alone"])
    calls = operations(project, "execute", "create_index", "drop_index")
    for path, call in calls:
        words = {word.arg: getattr(word.value, "value", 0) for word in call.keywords}
        sql = next(filter(None, map(alone.match, strings(call))), None)
        what = sql[0].strip() if sql else "postgresql_concurrently=True"
        given = sql or words.get("postgresql_concurrently")
        # Some end the transaction themselves.
        if given and not re.search(r"(?i)autocommit|COMMIT\b", project.text(path)):
            yield path, call.lineno, {"what": what}, of_migrations(project)


@check("H916", step=7)
def operation_that_postgresql_refuses(project):
    """Whatever is in the tables: a type that nothing becomes by itself, words of other databases."""
    made = types_made(project)
    for path, call in operations(project, "alter_column"):
        words = {word.arg: word.value for word in call.keywords}
        before = words.get("existing_type") or made.get(place_of(call))
        kinds = [type_of(before), type_of(words.get("type_"))]
        if is_no_cast(*kinds) and "postgresql_using" not in words:
            details = {"what": f"{kinds[0]} → {kinds[1]}"}
            yield path, call.lineno, details, of_migrations(project)
    trees = [project.trees[p] for p in revisions(project) if p in project.trees]
    names = {text for tree in trees for text in strings(tree) if " " not in text}
    for path, call in operations(project, "execute"):
        for text in strings(call):
            match = re.search(MIGRATIONS["other_sql"], re.sub(r"'[^']*'", "''", text))
            if match := match or text_in_quotes(text, names):
                yield path, call.lineno, {"what": match[0]}, of_migrations(project)
                break
    yield from not_within_a_transaction(project)
    yield from value_used_at_once(project)
    for path, call, name in enums(project):
        details = {"what": f'Enum(…, name="{name}")'}
        yield path, call.lineno, details, of_migrations(project)
    for path, call in operations(project, "drop_constraint"):
        if call.args and getattr(call.args[0], "value", "") is None:
            details = {"what": unparse(call)[:60]}
            yield path, call.lineno, details, of_migrations(project)
    for path, call in operations(project, "create_table", "add_column"):
        for column in calls_of(call, "Column"):
            types = [unparse(n) for n in column.args]
            if foreign := [t for t in types if re.match(MIGRATIONS["other_types"], t)]:
                yield path, column.lineno, {"what": foreign[0]}
                continue
            words = {word.arg: word.value for word in column.keywords}
            given = words.get("server_default")
            for text in strings(given) if isinstance(given, ast.Call) else ():
                text = re.sub(r"'[^']*'", "''", text)
                if match := re.search(MIGRATIONS["other_sql"], text):
                    details = {"what": match[0]}
                    yield path, column.lineno, details, of_migrations(project)
            default = unparse(words.get("server_default") or ast.Constant(""))
            truth = any(type_of(n) in MIGRATIONS["truth"] for n in column.args)
            if truth and re.fullmatch(
                r"(sa\.|sqlalchemy\.)?text\(['\"][01]['\"]\)", default
            ):
                yield (
                    path,
                    column.lineno,
                    {"what": f"Boolean, server_default={default}"},
                )


def value_used_at_once(project):
    """Yield a value that a type gets and that rows get in the same transaction, a warning: it has no commit yet.

    https://www.postgresql.org/docs/current/sql-altertype.html
    """
    added = {}
    for path, call in operations(project, "execute"):
        for text in strings(call):
            new = re.search(r"(?i)\bALTER\s+TYPE\b.*\bADD\s+VALUE\b.*'([^']+)'", text)
            if new and "autocommit" not in project.text(path):
                added[path] = new[1]
            elif not new and path in added and f"'{added[path]}'" in text:
                yield (
                    path,
                    call.lineno,
                    {"what": f"ADD VALUE '{added[path]}', and its use"},
                    "warning",
                )


def place_of(call):
    """Return (table, column) of an operation, as far as it names them first."""
    return tuple(getattr(part, "value", None) for part in call.args[:2])


def types_made(project):
    """Return {(table, column): type} of the columns that one migration alone makes, None where more do."""
    found, changed = {}, Counter()
    for _, call in operations(project, "create_table", "add_column"):
        for node in calls_of(call, "Column"):
            if len(node.args) > 1 and call.args:
                place = first_value(call), first_value(node)
                found[place] = None if place in found else node.args[1]
    for _, call in operations(project, "alter_column"):
        changed[place_of(call)] += 1
    calls = operations(project, "execute")
    by_sql = any("ALTER" in text.upper() for _, c in calls for text in strings(c))
    kept = {} if by_sql else found
    return {place: type for place, type in kept.items() if changed[place] < 2}


def enums(project):
    """Yield (path, call, name) of columns whose kind PostgreSQL does not have: add_column makes none."""
    made = "".join(project.text(path) for path in revisions(project))
    for path, call in operations(project, "create_table", "add_column"):
        given = {
            last_name(node.targets[0]): node.value
            for node in upgrade_of(project.trees.get(path))
            if isinstance(node, ast.Assign)
        }
        columns = calls_of(call, "Column")
        named = [given.get(last_name(n)) for c in columns for n in c.args]
        for node in [*calls_of(call, "Enum", "ENUM"), *filter(None, named)]:
            words = {w.arg: getattr(w.value, "value", None) for w in node.keywords}
            name = words.get("name")
            plain = isinstance(name, str) and words.get("native_enum", True)
            by_table = last_name(call.func) == "create_table"
            if not plain or by_table and words.get("create_type") is not False:
                continue
            places = re.findall(rf"name\s*=\s*['\"]{name}['\"]", made)
            by_hand = re.search(rf"(?i)\.create\(|CREATE TYPE \W?{name}\b", made)
            if len(places) == 1 and not by_hand:
                yield path, call, name


def text_in_quotes(text, names):
    """Return a match of = "…" in SQL, where that is no column's name: PostgreSQL writes texts with '."""
    if not re.match(r"(?i)\s*(insert|update|delete)\b", text):
        return None
    found = re.finditer(r'=\s*"([^"]+)"', text)
    return next((match for match in found if match[1] not in names), None)


def type_of(node):
    """Return the name of a column's type: "String" of sa.String(20)."""
    return last_name(getattr(node, "func", node))


def is_no_cast(before, after):
    """Tell whether PostgreSQL changes the one type into the other only with USING."""
    texts, whole, truth = (MIGRATIONS[n] for n in ("texts", "whole", "truth"))
    return (
        before in texts
        and after in MIGRATIONS["others"]
        or before in whole
        and after in truth
        or before in truth
        and after in whole
    )


def operations(project, *names):
    """Yield (path, call) of what upgrade() surely does: op.add_column(…), also of a batch."""
    for path in revisions(project):
        for node in surely_done(upgrade_of(project.trees.get(path))):
            if last_name(node.func) in names:
                yield path, node


def last_upgrades(project, *without):
    """Yield (path, calls) of the upgrades that no other follows, which may be long ago, and that call none of these."""
    found = revisions(project)
    followed = {name for _, down in found.values() for name in down}
    for path, (revision, _) in found.items():
        calls = [*surely_done(upgrade_of(project.trees.get(path)))]
        if revision not in followed and not {last_name(c.func) for c in calls} & {
            *without
        }:
            yield path, calls


def upgrade_of(tree):
    """Return the statements of a migration's upgrade(), none where there is none."""
    functions = tree.body if tree else ()
    return next((f.body for f in functions if getattr(f, "name", "") == "upgrade"), [])


def calls_of(tree, *names):
    """Return the calls in a syntax tree whose last name is one of these."""
    nodes = walk(tree)
    return [n for n in nodes if last_name(getattr(n, "func", None)) in names]


def surely_done(statements):
    """Yield the calls that statements make by themselves."""
    for node in statements:
        if isinstance(node, ast.With):
            yield from surely_done(node.body)
        elif isinstance(call := getattr(node, "value", None), ast.Call):
            yield call


def of_migrations(project):
    """Return the level of what stops them: a warning where nothing seems to run them."""
    texts = [command.text for command in project.commands]
    texts += [str(project.json.get("scripts")), *project.shell_texts]
    runs = any("upgrade" in text for text in texts) or project.calls_any("upgrade")
    return "error" if runs else "warning"


def shown(call, table):
    return f'{unparse(call.func)}("{table}")'


def pointed_to(call):
    """Return the tables that the foreign keys of a call point to."""
    parts = calls_of(call, "ForeignKey", "ForeignKeyConstraint")
    given = [text for part in parts for node in part.args for text in strings(node)]
    return {text.partition(".")[0] for text in given if text.count(".") == 1}


def columns_in(call):
    """Yield the names of the columns that a call makes, in their order."""
    for column in calls_of(call, "Column"):
        if isinstance(first_value(column), str):
            yield first_value(column)


def changes_within(tree, call):
    """Yield the calls that add or drop columns: one by itself, or those of a batch."""
    kinds = ("add_column", "drop_column", "alter_column")
    if last_name(call.func) in kinds:
        yield call
    for node in upgrade_of(tree):
        if isinstance(node, ast.With) and node.items[0].context_expr is call:
            for statement in node.body:
                inner = getattr(statement, "value", None)
                words = getattr(inner, "keywords", ())
                plain = isinstance(inner, ast.Call) and not GUARDS & {
                    w.arg for w in words
                }
                if plain and last_name(inner.func) in kinds:
                    yield inner


def table_changes(tree):
    """Yield (call, table) of what upgrade() makes, drops and changes whatever else is there.

    What a new table's foreign keys lead to comes before it, as calls of ForeignKey.
    """
    for node in upgrade_of(tree):
        call = getattr(node, "value", None)
        if isinstance(node, ast.With):
            call = node.items[0].context_expr
        if not isinstance(call, ast.Call):
            continue
        words = {w.arg for w in call.keywords if getattr(w.value, "value", w)}
        if words & GUARDS:
            continue
        kind = last_name(call.func)
        place = TABLE_AT.get(kind, len(call.args))
        table = [getattr(n, "value", None) for n in call.args[place : place + 1]]
        if not table or not isinstance(table[0], str):
            continue
        for key in calls_of(call, *KEYS) if kind == "create_table" else ():
            if any(word.arg == "use_alter" for word in key.keywords):
                continue  # the key is left out
            for text in strings(key):
                other, dot, _ = text.rpartition(".")
                if dot and other.isidentifier() and other != table[0]:
                    yield key, other
        yield call, table[0]
