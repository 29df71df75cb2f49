"""The doctor of a baked project: each check on a project that it fails, and quiet on all that deploy."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import jsonschema
import pytest

from lab import CONTEXT, GIT, LANGUAGES, NEWEST_PYTHON, ROOT, SAMPLES, SOURCES, Project

WEB = "web: python -m deploy.server\n"
# Isolated from all installed packages, as on a machine with nothing but Python.
ISOLATED = (
    "import sys; sys.path.insert(0, '.'); sys.argv[0] = 'doctor'; from doctor.__main__ import main; sys.exit(main())"
)


@functools.cache
def words(language):
    return tomllib.loads((ROOT / "templates" / language / "doctor.toml").read_text(encoding="utf-8"))


def without_psycopg(p):
    p.without("requirements.txt", "psycopg")
    p.append("requirements.txt", "typing-extensions==4.16.0\n")
    p.replace(
        "deploy/transactions.py",
        "from psycopg import ClientCursor, IsolationLevel\nfrom psycopg.errors import QueryCanceled",
        "ClientCursor = IsolationLevel = QueryCanceled = OSError",
    )
    p.replace(
        "deploy/errors.py",
        "from psycopg import DataError, Error, OperationalError, errors",
        "from sqlalchemy import exc as errors\nfrom sqlalchemy.exc import DataError, OperationalError\n"
        "from sqlalchemy.exc import DBAPIError as Error",
    )
    p.replace("deploy/streaming.py", "from psycopg import Error", "Error = OSError")


def with_page(p, view, page="", name="new.html"):
    """Add a view, and the template that it renders."""
    p.append("views.py", f"\n\n{view}")
    p.write(f"templates/{name}", f'{{% extends "base.html" %}}\n{{% block content %}}\n{page}\n{{% endblock %}}\n')


def plain(p, code, packages="", **pages):
    """Make a project of one file in place of the baked one; pages: its templates."""
    cleared(p)
    p.write("requirements.txt", f"flask==3.1.2\ngunicorn==23.0.0\n{packages}")
    p.write("Procfile", "web: gunicorn app:app\n")
    start = "import os\n\nfrom flask import Flask, redirect, render_template, request\n\napp = Flask(__name__)\n"
    key = 'app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]\n\n\n'
    p.write("app.py", f'{start}{key}@app.route("/")\ndef index():\n    return "x"\n\n\n{code}')
    for name, text in pages.items():
        p.write(f"templates/{name}.html", text)


def django(p, settings="", web="gunicorn site1.wsgi", **files):
    """Make a project of Django's in place of the baked one."""
    cleared(p)
    p.write("requirements.txt", "Django==5.2.8\ngunicorn==23.0.0\nwaitress==3.0.2\npsycopg[binary]==3.3.9\n")
    p.write("Procfile", f"web: {web}\n")
    p.write("site1/__init__.py", "")
    p.write("site1/urls.py", "urlpatterns = []\n")
    code = "import os\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n"
    run = "from django.core.management import execute_from_command_line as run\n\nrun()\n"
    p.write("manage.py", code + run)
    wsgi = "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n"
    p.write("site1/wsgi.py", code + wsgi)
    own = "ROOT_URLCONF = 'site1.urls'\nALLOWED_HOSTS = ['.herokuapp.com']\nSTATIC_ROOT = 'x'\n"
    p.write("site1/settings.py", own + settings)
    for name, text in files.items():
        p.write(name.replace("__", "/") + ".css", text)


def cleared(p):
    """Take what makes the baked project away."""
    for name in ("deploy", "migrations", "test", "templates", "static"):
        shutil.rmtree(p.path / name)
    for file in (
        *p.path.glob("*.py"),
        p.path / ".flaskenv",
        p.path / ".env.example",
        p.path / "app.json",
        p.path / "requirements-test.txt",
    ):
        file.unlink()


GUNICORN = "gunicorn==27.0.1\n"
# What a lock file of the project would hold.
LOCKED = [
    "flask",
    "flask-sqlalchemy",
    "flask-migrate",
    "flask-wtf",
    "granian",
    "psycopg",
    "psycopg-binary",
    "python-dotenv",
]
LOCKED += ["sqlalchemy", "werkzeug", "click", "wtforms", "jinja2", "alembic"]
UV_LOCK = "".join(f'[[package]]\nname = "{name}"\nversion = "99"\n' for name in LOCKED)
# What else is wrong then: the project itself needs Python 3.11, nothing loads the views or deploy/ with its filters,
# links lead nowhere, the database has no app.
FOLLOW = {
    "H425": {"H433"},
    "H429": {"H406"},
    "H305": {"H514"},
    "H516": {"H526"},
    "H518": {"H521", "H125"},
    "H519": {"H521"},
    "H515": {"H122"},
    "H917": {"H526"},
}


CSRF_FIELD = '<input type="hidden" name="csrf_token" value="{{ csrf_token() }}">'


def lock_entry(match):
    """Return a pinned line of a list of packages as a lock file has it."""
    return f'[[package]]\nname = "{match[1]}"\nversion = "{match[2]}"\n' if match[1] else ""


# For every check one or more changes after which exactly this check finds something.
BREAK = {
    "H103": [lambda p: p.append(".gitignore", "models.py\n"), lambda p: p.append(".gitignore", "Procfile\n")],
    "H104": [lambda p: p.rename("templates", "Templates")],
    "H105": [lambda p: p.write("package.json", "{}"), lambda p: p.write("Gemfile", "")],
    "H106": [lambda p: p.write("Dockerfile", "FROM python\n")],
    "H107": [lambda p: p.write("venv/pyvenv.cfg", "x"), lambda p: p.write("env/pyvenv.cfg", "home = /usr\n")],
    "H123": [lambda p: p.replace("views.py", "    return notes_page(NoteForm())\n", "    notes_page(NoteForm())\n")],
    "H201": [lambda p: p.write("uv.lock", ""), lambda p: p.remove("requirements.txt")],
    "H202": [
        lambda p: p.rename("requirements.txt", "Requirements.txt"),
        lambda p: p.rename("requirements.txt", "requirement.txt"),
    ],
    "H203": [
        lambda p: p.recode("requirements.txt", "utf-16-le"),
        lambda p: p.write("requirements.txt", "# серверы\n".encode("cp1251") + p.read("requirements.txt").encode()),
    ],
    "H204": [
        lambda p: p.replace("main.py", "import os\n", "import os\nimport requests\n"),
        lambda p: p.replace("requirements.txt", "granian==", "# granian=="),
    ],
    "H205": [lambda p: (p.append("requirements.in", "pandas\n"), p.append("requirements.txt", "pandas==2.3.0\n"))],
    "H206": [
        lambda p: p.procfile('gunicorn "main:init_app()"'),
        lambda p: p.append("Procfile", "worker: celery worker\n"),
        lambda p: (p.append("requirements.txt", GUNICORN), p.procfile('gunicorn -k gevent "main:init_app()"')),
    ],
    "H207": [
        lambda p: p.append("requirements.txt", "-e ./not-there\n"),
        lambda p: p.append("requirements.txt", "mine @ git+ssh://git@git.example/mine.git\n"),
        lambda p: p.append("requirements.txt", "pkg_resources==0.0.0\n"),
        lambda p: p.append("requirements.txt", "pywin32==311\n"),
        lambda p: p.append("requirements.txt", "mine @ file:///C:/mine\n"),
    ],
    "H208": [without_psycopg],
    "H219": [lambda p: p.append("views.py", "\nimport frobnication_of_mine\n")],
    "H220": [lambda p: p.append("requirements.txt", "dataclasses==0.8\n")],
    "H221": [
        lambda p: (
            without_psycopg(p),
            p.append("requirements.txt", "psycopg2-binary==2.9.12\n"),
            p.write("deploy/environment.py", p.read("deploy/environment.py").replace("sql+psycopg", "sql")),
        )
    ],
    "H222": [
        lambda p: (
            p.append("requirements.txt", "-e .\n"),
            p.append("pyproject.toml", '\n[project]\nname = "notes"\nversion = "1"\n'),
        )
    ],
    "H223": [
        lambda p: (
            p.write("pyproject.toml", '[tool.poetry]\nname = "notes"\nversion = "1"\ndescription = ""\nauthors = []\n'),
            p.write(
                "poetry.lock",
                re.sub(r"(?m)^([\w.-]+)(?:\[.*\])?==([^ \n]+).*|^.*", lock_entry, p.read("requirements.txt")),
            ),
            p.remove("requirements.txt"),
        )
    ],
    "H224": [lambda p: (p.append("requirements.txt", "nltk==3.9.2\n"), p.write("nltk.txt", "punkt stopwords\n"))],
    "H301": [lambda p: p.remove(".python-version")],
    "H302": [
        lambda p: p.write(".python-version", f"python-{NEWEST_PYTHON}\n"),
        lambda p: p.write(".python-version", f"\ufeff{NEWEST_PYTHON}\n"),
        lambda p: p.write(".python-version", f"{NEWEST_PYTHON}\n".encode("utf-16")),
        lambda p: p.rename(".python-version", ".python-version.txt"),
    ],
    "H303": [lambda p: p.write(".python-version", "3.9\n"), lambda p: p.write(".python-version", "3.8.20\n")],
    "H304": [lambda p: p.write("runtime.txt", "python-3.13\n")],
    "H305": [
        lambda p: (
            p.write(".python-version", "3.10\n"),
            p.write("requirements.txt", re.sub("(?m)==.*", "", p.read("requirements.txt"))),
        )
    ],
    "H306": [lambda p: p.write(".python-version", "3.99\n")],
    "H401": [
        lambda p: p.rename("Procfile", "procfile"),
        lambda p: p.rename("Procfile", "Procfile.txt"),
        lambda p: p.remove("Procfile"),
    ],
    "H402": [
        lambda p: p.write("Procfile", b"\xef\xbb\xbf" + WEB.encode()),
        lambda p: p.write("Procfile", WEB.encode("utf-16")),
    ],
    "H403": [lambda p: p.write("Procfile", "web:python -m deploy.server\n")],
    "H404": [lambda p: p.write("Procfile", "worker: python -m deploy.server\n")],
    "H405": [lambda p: (p.append("requirements.txt", GUNICORN), p.procfile("gunicorn main:init_app()"))],
    "H406": [lambda p: p.procfile("env FLASK_ENV=development flask run -h 0.0.0.0 -p $PORT")],
    "H407": [
        lambda p: p.replace(
            "Procfile",
            "python -m deploy.server",
            "granian --interface wsgi --factory --host 127.0.0.1 --port $PORT main:init_app",
        ),
        lambda p: p.procfile("granian --interface wsgi --factory --host 0.0.0.0 --port 8000 main:init_app"),
    ],
    "H409": [
        lambda p: p.append("Procfile", "clock: python clock.py\n"),
        lambda p: p.replace("Procfile", "flask db upgrade", "alembic upgrade head"),
    ],
    "H501": [
        lambda p: p.write(".flaskenv", "FLASK_APP=app.py:init_app()\n"),
        lambda p: p.append("Procfile", "admin: env FLASK_APP=admin.py:make flask shell\n"),
        lambda p: p.app_json(
            env={"FLASK_APP": {"value": "main.py:create_app()"}, "SECRET_KEY": {"generator": "secret"}}
        ),
        lambda p: (p.append("requirements.txt", GUNICORN), p.procfile("gunicorn wsgi:app")),
    ],
    "H515": [
        lambda p: p.replace("views.py", 'Blueprint("notes", ', 'Blueprint("my.notes", '),
        lambda p: p.replace("views.py", '@bp.get("/notes.csv")', '@bp.get("notes.csv")'),
    ],
    "H516": [
        lambda p: (
            p.append("requirements.txt", "flask-login==0.6.3\n"),
            p.append("forms.py", "\nfrom flask_login import LoginManager\n\nlogins = LoginManager()\n"),
        )
    ],
    "H601": [lambda p: p.write(".env", "SECRET_KEY=k3j4h5g6k7j8h9g0\n")],
    "H602": [
        lambda p: p.append("config.py", '\nURL = "postgres://me:s3cr3tpw@ec2-1-2-3-4.compute.amazonaws.com:5432/d1"\n'),
        lambda p: p.append("config.py", '\nSECRET_KEY = "b6f0c2a19d8e4f7a"\n'),
        lambda p: p.append("README.md", "\nghp_" + "a1B2" * 9 + "\n"),
    ],
    "H603": [lambda p: p.append(".env.example", "\nMAIL_SERVER=\n")],
    "H604": [
        lambda p: p.write(
            "deploy/environment.py",
            re.sub(r'"postgres\w*(\+psycopg)?"', '"x"', p.read("deploy/environment.py")).replace(
                'f"postgresql+psycopg://', 'f"x'
            ),
        )
    ],
    "H605": [lambda p: p.append("config.py", '\nimport os\n\nMAIL = os.environ["MAIL_SERVER"]\n')],
    "H701": [lambda p: p.write("app.json", '{"name": "x",}')],
    "H702": [
        lambda p: p.app_json(formation=[{"process": "web", "quantity": 1}]),
        lambda p: p.app_json(addons={"plan": "x"}),
    ],
    "H703": [
        lambda p: p.app_json(addons=[{"plan": "heroku-postgresql:hobby-dev"}]),
        lambda p: p.app_json(stack="heroku-20"),
        lambda p: p.app_json(formation={"web": {"quantity": 1, "size": "free"}}),
    ],
    "H704": [lambda p: p.app_json(name="a" * 31)],
    "H705": [
        lambda p: (
            p.app_json(env={"MAIL": {}}),
            p.append("config.py", '\nimport os\n\nMAIL = os.environ["MAIL"]\n'),
        )
    ],
    "H707": [lambda p: [p.remove(name) for name in ("requirements-test.txt", "requirements-test.in")]],
    "H801": [
        lambda p: p.append(".slugignore", "static\n"),
        lambda p: p.append(".slugignore", "/requirements.txt\n"),
        lambda p: p.append(".slugignore", "*.py\n"),
        lambda p: p.append(".slugignore", "docs static\n"),
    ],
    "H802": [lambda p: p.append(".slugignore", "!keep\n")],
    "H803": [lambda p: p.append(".slugignore", "# drop docs, keep static\n")],
    "H901": [
        lambda p: p.append("views.py", '\n\ndef keep(file):\n    file.save(current_app.config["UPLOAD_FOLDER"])\n')
    ],
    "H902": [
        lambda p: (
            p.append("requirements.txt", GUNICORN),
            p.procfile('gunicorn --workers 5 --threads 8 "main:init_app()"'),
        ),
    ],
    "H903": [
        lambda p: p.append(
            "models.py",
            '\n\nclass Tag(db.Model):\n    __tablename__ = "tags"\n    id: Mapped[int] = mapped_column(primary_key=True)\n',
        )
    ],
    "H904": [
        lambda p: (
            p.write("migrations/versions/0002_a.py", 'revision = "0002"\ndown_revision = "0001"\n')
            or p.write("migrations/versions/0003_b.py", 'revision = "0003"\ndown_revision = "0001"\n')
        ),
        # As newer versions of Alembic write it.
        lambda p: (
            p.write("migrations/versions/0002_a.py", 'revision: str = "0002"\ndown_revision: str | None = "0001"\n')
            or p.write("migrations/versions/0003_b.py", 'revision: str = "0003"\ndown_revision: str | None = "0001"\n')
        ),
    ],
    "H109": [
        lambda p: p.replace("templates/base.html", "filename='style.css'", "filename='logo.css'"),
        lambda p: p.remove("static/style.css"),
    ],
    "H119": [
        lambda p: p.append("config.py", '\nWORDS = open("words.txt").read()\n'),
        lambda p: p.append("config.py", '\nfrom pathlib import Path\n\nWORDS = Path("data/words.txt").read_text()\n'),
        lambda p: (
            p.write("data/words.txt", "x\n"),
            p.append("config.py", '\nWORDS = open("data\\\\words.txt").read()\n'),
        ),
    ],
    "H120": [
        lambda p: (p.remove("views.py"), p.link("views.py", "elsewhere.py")),
        lambda p: p.link("notes.txt", "../outside.txt"),
    ],
    "H121": [lambda p: p.replace("templates/notes.html", "{% endfor %}", "{% end for %}")],
    "H122": [lambda p: p.replace("templates/notes.html", "url_for('notes.download'", "url_for('notes.downloads'")],
    "H218": [
        lambda p: p.append(
            "forms.py", "\nfrom wtforms.validators import Email\n\n\nclass Form(FlaskForm):\n    checks = [Email()]\n"
        ),
    ],
    "H415": [lambda p: p.replace("Procfile", "flask db upgrade", "flask db update")],
    "H416": [
        lambda p: p.replace("Procfile", "python -m", "py -m"),
        lambda p: p.replace("Procfile", "web: ", "web: set FLASK_DEBUG=0 && "),
    ],
    "H417": [lambda p: p.without("Procfile", "release")],
    "H502": [
        lambda p: (p.procfile("gunicorn main:init_app"), p.append("requirements.txt", GUNICORN)),
        lambda p: (
            p.procfile("uvicorn --host 0.0.0.0 --port $PORT --factory main:init_app"),
            p.append("requirements.txt", "uvicorn==0.37.0\nh11==0.16.0\n"),
        ),
    ],
    "H507": [
        lambda p: p.replace("models.py", "from database import", "from views import PAGE_SIZE\nfrom database import")
    ],
    "H508": [
        lambda p: p.without("views.py", "from database import"),  # of functions only
        lambda p: p.without("forms.py", "from flask_wtf"),
        lambda p: p.replace("main.py", "app.register_blueprint(", "application.register_blueprint("),
    ],
    "H509": [
        lambda p: p.append("views.py", '\n\n@bp.get("/other")\ndef index():\n    return ""\n'),
        lambda p: p.replace(
            "main.py",
            "    app.register_blueprint(views.bp)\n",
            "    app.register_blueprint(views.bp)\n    app.register_blueprint(views.bp)\n",
        ),
    ],
    "H510": [lambda p: p.replace("views.py", "from models import", "from modles import")],
    "H511": [lambda p: p.rename("forms.py", "notes/forms.py")],
    "H607": [
        lambda p: p.app_json(env={"SECRET_KEY": {"value": "9f8a7d6e5c4b3a291807f6e5d4c3b2a1"}}),
        lambda p: p.append(".env.example", "SECRET_KEY=9f8a7d6e5c4b3a291807f6e5d4c3b2a1\n"),
    ],
    "H608": [lambda p: p.append("config.py", '\nMAIL_PASSWORD = "winter in 1984"\n')],
    "H706": [
        lambda p: p.append("pyproject.toml", '\n[[tool.doctor.silence]]\nid = "H205"\n'),
        lambda p: p.append("pyproject.toml", '\n[[tool.doctor.silence]]\nid = "H999"\nreason = "x"\n'),
        lambda p: p.append("pyproject.toml", '\n[[tool.doctor.silence]]\nid = "H205"\nreason = ""\n'),
        lambda p: p.append("pyproject.toml", "\n[tool.doctor]\nsilence = 1\n"),
        lambda p: p.append("pyproject.toml", "\n[tool.doctor\n"),
    ],
    "H908": [
        lambda p: p.append("config.py", '\nimport psycopg\n\nx = psycopg.connect("host=localhost dbname=app")\n'),
        lambda p: p.append("config.py", '\nimport psycopg\n\nx = psycopg.connect(dbname="a", host="127.0.0.1")\n'),
    ],
    "H951": [lambda p: (p.remove(".gitattributes"), p.write("Procfile", p.read("Procfile").replace("\n", "\r\n")))],
    "H952": [lambda p: p.write("views.py", p.read("views.py").encode() + "# привет\n".encode("cp1251"))],
    "H108": [lambda p: p.replace("views.py", '"notes.html"', '"nots.html"')],
    "H110": [lambda p: p.write(".heroku/python/bin/python", "x")],
    "H111": [
        lambda p: p.app_json(
            buildpacks=[{"url": "https://example.com/python-poetry-buildpack"}, {"url": "heroku/python"}]
        )
    ],
    "H112": [
        lambda p: p.write("bin/pre_compile", "#!/bin/sh\necho begins\nexit 1\n"),
        lambda p: (p.remove(".gitattributes"), p.write("bin/post_compile", b"#!/bin/sh\r\necho ends\r\n")),
    ],
    "H114": [
        lambda p: p.write("static/model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    ],
    "H116": [
        lambda p: p.append("templates/base.html", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n"),
        lambda p: p.append("views.py", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n"),
        lambda p: p.append("requirements.txt", "<<<<<<< HEAD\nrequests==2.32.5\n=======\n>>>>>>> other\n"),
        lambda p: p.write("views.py.rej", "@@ -1 +1 @@\n"),
        lambda p: p.append(".flaskenv", "<<<<<<< HEAD\nA=1\n=======\nA=2\n>>>>>>> other\n"),
    ],
    "H117": [lambda p: p.write("email.py", "NAME = 1\n"), lambda p: p.write("logging/__init__.py", "")],
    "H118": [
        lambda p: p.replace("main.py", "    return app", '    app.config.from_pyfile("secret.cfg")\n    return app')
    ],
    "H209": [
        lambda p: p.append("requirements.txt", "requests=2.32.3\n"),
        lambda p: p.append("requirements.txt", "requests 2.32.3\n"),
        lambda p: p.append("requirements.txt", "pip install requests\n"),
        lambda p: p.append("requirements.txt", "requests—2.32.3\n"),
        lambda p: p.append("requirements.txt", "requests==\n"),
        lambda p: p.append("requirements.txt", "--no-such-option\n"),
        lambda p: p.append("requirements.txt", "Package Version\n------- -------\n"),
    ],
    "H210": [lambda p: p.append("requirements.txt", "-r requirements/base.txt\n")],
    "H211": [
        lambda p: p.write(
            "requirements.txt", re.sub("(?m)^werkzeug==.*", "werkzeug==2.3.8", p.read("requirements.txt"))
        ),
        lambda p: p.append("requirements.txt", "flask==2.0.0\n"),
        lambda p: p.append("requirements.txt", "six==1.17.0 --hash=sha256:00\n"),
    ],
    "H212": [
        lambda p: (
            p.append("requirements.txt", "flask-login==0.6.2\n"),
            p.append("forms.py", "\nimport flask_login  # noqa\n"),
        ),
    ],
    "H213": [
        lambda p: (p.append("requirements.txt", "greenlet==1.1.3\n"), p.write(".python-version", f"{NEWEST_PYTHON}\n"))
    ],
    "H214": [
        lambda p: (p.append("requirements.txt", "opencv-python==4.12.0.88\n"), p.append("views.py", "import cv2\n")),
        lambda p: (p.append("requirements.txt", "pytesseract==0.3.13\n"), p.append("views.py", "import pytesseract\n")),
    ],
    "H215": [lambda p: p.append("requirements.txt", "reqeusts\n")],
    "H216": [
        lambda p: (
            p.remove("requirements.txt"),
            p.write("Pipfile", '[packages]\nrequests = "*"\nflask = "*"\n'),
            p.write("Pipfile.lock", json.dumps({"default": {name: {} for name in LOCKED}})),
        )
    ],
    "H217": [
        lambda p: (
            p.remove("requirements.txt"),
            p.remove(".python-version"),
            p.write("uv.lock", UV_LOCK),
            p.append("pyproject.toml", '\n[project]\nname = "notes"\nversion = "1"\n'),
        )
    ],
    "H410": [lambda p: p.procfile("python –m deploy.server"), lambda p: p.procfile("python -m “deploy.server”")],
    "H411": [lambda p: p.append("Procfile", "web: python -m deploy.server\n")],
    "H412": [
        lambda p: (
            p.write("bot.py", "import time\n\nwhile True:\n    time.sleep(1)\n"),
            p.procfile("python bot.py"),
            p.write(".env.example", ""),
            p.app_json(env={}),
        )
    ],
    "H413": [lambda p: (p.write("loop.py", "#!/usr/bin/env python\n"), p.append("Procfile", "worker: ./loop.py\n"))],
    "H414": [lambda p: p.replace("Procfile", "flask db upgrade", "flask db migrate && flask db upgrade")],
    "H418": [
        lambda p: (
            p.append("requirements.txt", GUNICORN + "flask-socketio==5.5.1\n"),
            p.append("views.py", "from flask_socketio import SocketIO\n\nsockets = SocketIO()\n"),
            p.procfile('gunicorn -w 2 "main:init_app()"'),
        )
    ],
    "H504": [
        lambda p: p.append("views.py", "from forms import Missing\n"),
        lambda p: p.append("views.py", "import deploy.missing\n"),
    ],
    "H505": [lambda p: p.replace("main.py", "from database import", "from .database import")],
    "H506": [
        lambda p: p.append("views.py", "from werkzeug.urls import url_parse\n"),
        lambda p: (p.append("views.py", "import cgi\n"), p.write(".python-version", f"{NEWEST_PYTHON}\n")),
        lambda p: p.append("views.py", "from flask import Markup\n"),
    ],
    "H512": [lambda p: p.append("main.py", "\napp = init_app()\napp.run()\n")],
    "H513": [lambda p: p.append("views.py", "\nfrom flask import current_app\n\nSIZE = current_app.config['SIZE']\n")],
    "H514": [lambda p: (p.write(".python-version", "3.11\n"), p.append("views.py", "from typing import override\n"))],
    "H606": [lambda p: p.append("config.py", "\nimport secrets\n\nSECRET_KEY = secrets.token_hex()\n")],
    "H609": [
        lambda p: (
            p.append("requirements.txt", "django==5.2.8\n"),
            p.append("config.py", "\nimport os\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1')\n"),
            p.write("site1.py", "ALLOWED_HOSTS = ['localhost']\n"),
        )
    ],
    "H151": [
        lambda p: p.write("Runtime.txt", "python-3.13\n"),
        lambda p: p.write("bin/post_compile.sh", "#!/bin/sh\necho ends\n"),
    ],
    "H153": [
        lambda p: p.replace("deploy/words.toml", 'no_changes = "', 'no_changes = "The "tables" '),
        lambda p: (
            p.append("config.py", "\nimport json\n\nCITIES = json.load(open('cities.json'))\n"),
            p.write("cities.json", "[1,]\n"),
        ),
    ],
    "H154": [
        lambda p: p.append("config.py", "\nimport logging\n\nlogging.FileHandler('/var/log/notes.log')\n"),
    ],
    "H430": [lambda p: p.procfile("gunicron 'main:init_app()'")],
    "H628": [
        lambda p: p.append(
            "views.py", '\nimport os\n\n\n@bp.get("/all")\ndef all_settings():\n    return dict(os.environ)\n'
        ),
        lambda p: p.append("templates/notes.html", "<!-- {{ config.items() }} -->\n"),
    ],
    "H629": [lambda p: p.append("config.py", '\nSESSION_COOKIE_DOMAIN = "localhost"\n')],
    "H155": [lambda p: p.write("templates/notes.html", "<h1>Заметки</h1>\n".encode("cp1251"))],
    "H431": [
        lambda p: (
            p.append("Procfile", "worker: celery worker -A jobs.queue\n"),
            p.append("requirements.txt", "celery==5.5.3\nredis==5.2.1\n"),
            p.write("jobs.py", "import celery\n\nqueue = celery.Celery('jobs', broker='redis://queue.internal')\n"),
        )
    ],
    "H541": [lambda p: p.replace("main.py", "    return app\n", "")],
    "H542": [
        lambda p: (
            p.write(
                "tasks.py",
                "from flask import Blueprint\n\nbp = Blueprint('tasks', __name__)\n\n\n"
                "@bp.get('/tasks')\ndef tasks():\n    return 'none'\n",
            ),
            p.replace("main.py", "import views\n", "import tasks  # noqa: F401\nimport views\n"),
        )
    ],
    "H929": [lambda p: p.replace("models.py", 'SEARCH_LANGUAGE = "english"', 'SEARCH_LANGUAGE = "danish"')],
    "H936": [
        lambda p: (
            p.write(
                "migrations/versions/0002_kinds.py",
                'import sqlalchemy as sa\nfrom alembic import op\n\nrevision = "0002"\ndown_revision = "0001"\n\n\n'
                'def upgrade():\n    kind = sa.Enum("TALK", name="kind")\n    kind.create(op.get_bind())\n'
                '    op.add_column("notes", sa.Column("kind", kind, nullable=True))\n',
            ),
            p.replace("models.py", "\nfrom ", "\nimport enum\nfrom "),
            p.replace(
                "models.py",
                "\n\nclass Note(",
                '\n\nclass Kind(enum.Enum):\n    TALK = "Talk"\n    WORKSHOP = "Workshop"\n\n\nclass Note(',
            ),
            p.replace("models.py", "    body: Mapped[str]\n", "    body: Mapped[str]\n    kind: Mapped[Kind | None]\n"),
        )
    ],
    "H935": [lambda p: p.write("bin/post_compile", "#!/usr/bin/env bash\nflask db upgrade\n")],
    "H934": [
        lambda p: (
            p.write(
                "migrations/versions/0002_once.py",
                'from alembic import op\n\nrevision = "0002"\ndown_revision = "0001"\n\n\n'
                'def upgrade():\n    op.create_unique_constraint("notes_body_key", "notes", ["body"])\n',
            ),
            p.replace("models.py", "    body: Mapped[str]\n", "    body: Mapped[str] = mapped_column(unique=True)\n"),
        )
    ],
    "H933": [
        lambda p: (
            p.write(
                "migrations/versions/0002_name.py",
                'import sqlalchemy as sa\nfrom alembic import op\n\nrevision = "0002"\ndown_revision = "0001"\n\n\n'
                'def upgrade():\n    op.add_column("notes", sa.Column("written_at", sa.DateTime(timezone=True), '
                'server_default=sa.text("now()"), nullable=False))\n    op.drop_column("notes", "created_at")\n',
            ),
            p.replace("models.py", "    created_at:", "    written_at:"),
            p.replace("views.py", "Note.created_at", "Note.written_at"),
            p.replace("templates/notes.html", "note.created_at", "note.written_at"),
        )
    ],
    "H930": [
        lambda p: p.append(
            "forms.py",
            "\n\nfrom flask_wtf.file import FileField\n\n\nclass Photo(FlaskForm):\n    photo = FileField()\n",
        ),
        lambda p: p.append(
            "views.py", '\n\n@bp.post("/photo")\ndef photo():\n    return request.files["photo"].read()\n'
        ),
    ],
    "H157": [
        lambda p: p.append("views.py", '\n\n@bp.post("/stripe/webhook")\ndef paid():\n    return request.get_json()\n'),
    ],
    "H158": [
        lambda p: (
            p.append("requirements.txt", "flask-babel==4.0.0\n"),
            p.replace(
                "main.py", "from flask import Flask\n", "from flask import Flask\nfrom flask_babel import Babel\n"
            ),
            p.replace("main.py", "    return app\n", "    Babel(app)\n    return app\n"),
            p.write("translations/de/LC_MESSAGES/messages.po", 'msgid "Notes"\nmsgstr "Notizen"\n'),
        )
    ],
    "H152": [lambda p: p.write("Aptfile", "ffmpeg\n")],
    "H156": [lambda p: p.recode(".flaskenv", "utf-16")],
    "H432": [
        lambda p: p.write("Procfile", p.read("Procfile").replace("release: ", "release: flask db downgrade base && "))
    ],
    "H631": [lambda p: p.append("config.py", 'import os\n\nOPEN = bool(os.environ.get("PYTHON_OPEN", "0"))\n')],
    "H931": [
        lambda p: p.write(
            "database.py",
            "from flask_sqlalchemy import SQLAlchemy\nfrom sqlalchemy.orm import DeclarativeBase\n"
            "from sqlalchemy.pool import NullPool\n\n\nclass Base(DeclarativeBase):\n    pass\n\n\n"
            'db = SQLAlchemy(model_class=Base, engine_options={"poolclass": NullPool})\n',
        )
    ],
    "H230": [lambda p: (p.remove("requirements.txt"), p.write("uv.lock", UV_LOCK))],
    "H229": [
        lambda p: (
            p.append("requirements.txt", "-e .\n"),
            p.append(
                "pyproject.toml",
                '\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
                '\n[project]\nname = "notes"\nversion = "1"\nreadme = "ABOUT.md"\n',
            ),
        )
    ],
    "H634": [lambda p: p.append("config.py", 'PERMANENT_SESSION_LIFETIME = "a week"\n')],
    "H635": [
        lambda p: (
            cleared(p),
            p.write("requirements.txt", "flask==3.1.3\nwaitress==3.0.2\n"),
            p.write("Procfile", "web: waitress-serve --port=$PORT app:app\n"),
            p.write(
                "app.py",
                "from flask import Flask, url_for\n\napp = Flask(__name__)\n\n\n"
                '@app.get("/")\ndef index():\n    return url_for("index", _external=True)\n',
            ),
        )
    ],
    "H636": [
        lambda p: (
            django(p, ""),
            p.write(
                "site1/live.py",
                "STORAGES = {'staticfiles': {'BACKEND': 'whitenoise.storage.CompressedManifestStaticFilesStorage'}}\n",
            ),
            p.replace("site1/wsgi.py", "site1.settings", "site1.live"),
            p.write("manage.py", "import os\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n"),
            p.write("templates/page.html", "{% load static %}<link href=\"{% static 'own.css' %}\">"),
        )
    ],
    "H932": [lambda p: p.replace("config.py", "MAX_CONNECTIONS = 15", "MAX_CONNECTIONS = 99")],
    "H228": [lambda p: p.append("requirements.txt", "git+https://${GITHUB_TOKEN}@git.example/kit.git\n")],
    "H627": [
        lambda p: (
            p.append("requirements.txt", "django==5.2.8\n"),
            p.write("manage.py", "import os\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
        )
    ],
    "H610": [
        lambda p: (
            p.append("requirements.txt", "django==5.2.8\n"),
            p.write("manage.py", "import os\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1')\n"),
            p.write("site1.py", "INSTALLED_APPS = ['django.contrib.admin', 'django.contrib.staticfiles']\n"),
        )
    ],
    "H611": [lambda p: p.append(".flaskenv", "FLASK_DEBUG=1\n")],
    "H912": [
        lambda p: (
            p.replace(
                "models.py", "    body: Mapped[str]\n", "    body: Mapped[str]\n    tags = relationship('Tag')\n"
            ),
            p.replace("models.py", "import Mapped, mapped_column", "import Mapped, mapped_column, relationship"),
        )
    ],
    "H129": [lambda p: p.append("templates/base.html", "<a href=\"{{ url_for('notes.ask', id=1) }}\">x</a>\n")],
    "H420": [lambda p: p.write("Procfile", p.read("Procfile").replace("deploy.server", "deploy.server &"))],
    "H421": [lambda p: p.write("Procfile", p.read("Procfile").replace("deploy.server", "deploy.server; worker: x"))],
    "H422": [
        lambda p: (
            p.append("requirements.txt", "flask-sock==0.7.0\nsimple-websocket==1.1.0\nwsproto==1.2.0\nh11==0.16.0\n"),
            p.append("views.py", "\nfrom flask_sock import Sock\n\nsock = Sock()\n"),
        )
    ],
    "H520": [
        lambda p: (
            p.append("requirements.txt", "starlette==1.2.0\nanyio==4.9.0\nsniffio==1.3.1\nidna==3.10\n"),
            p.append(
                "views.py",
                '\n\ndef old(request):\n    return pages.TemplateResponse("x.html", {"request": request})\n\n\npages = None\n',
            ),
        )
    ],
    "H615": [lambda p: p.append("config.py", "\nMAX_CONTENT_LENGHT = 1000\n")],
    "H616": [
        lambda p: (
            p.append("requirements.txt", "celery==5.6.0\nkombu==5.6.0\nredis==7.0.1\n"),
            p.append("app.json", ""),
            p.append(
                "views.py",
                "\nimport os\n\nfrom celery import Celery\n\njobs = Celery('x', broker=os.environ.get('REDIS_URL'))\n",
            ),
        )
    ],
    "H617": [lambda p: django(p, "SECURE_SSL_REDIRECT = True\n", "waitress-serve --port=$PORT site1.wsgi:application")],
    "H618": [
        lambda p: django(
            p,
            "STORAGES = {'staticfiles': {'BACKEND': 'whitenoise.storage.CompressedManifestStaticFilesStorage'}}\n",
            static__x="body { background: url('lost.png') }\n",
        )
    ],
    "H619": [lambda p: django(p, "DEBUG = True\n")],
    "H620": [
        lambda p: (
            django(p, "INSTALLED_APPS = ['django.contrib.staticfiles']\nSTATIC_URL = '/static/'\n"),
            p.write("templates/page.html", "{% load static %}<link href=\"{% static 'own.css' %}\">"),
        ),
    ],
    "H130": [
        lambda p: p.append("templates/notes.html", "{% block more %}{{ current_user.name }}{% endblock %}\n"),
    ],
    "H424": [
        lambda p: (
            p.append("requirements.txt", "waitress==3.0.2\n"),
            p.procfile("waitress-serve --port=$PORT --call main:init_app"),
        )
    ],
    "H521": [
        lambda p: p.write(
            "tasks.py",
            "from flask import Blueprint\n\nbp = Blueprint('tasks', __name__)\n\n\n"
            "@bp.get('/tasks')\ndef tasks():\n    return 'none'\n",
        )
    ],
    "H920": [
        lambda p: p.append(
            "forms.py", "\n\nfrom flask_sqlalchemy import SQLAlchemy  # noqa: E402\n\ndata = SQLAlchemy()\n"
        )
    ],
    "H921": [
        lambda p: p.replace(
            "main.py", "    return app\n", "    with app.app_context():\n        db.create_all()\n    return app\n"
        )
    ],
    "H423": [
        lambda p: (
            p.append("requirements.txt", GUNICORN + "apscheduler==3.11.0\ntzlocal==5.3.1\n"),
            p.append(
                "views.py",
                "\n\nfrom apscheduler.schedulers.background import BackgroundScheduler\n\n"
                "jobs = BackgroundScheduler()\njobs.start()\n",
            ),
            p.procfile('gunicorn "main:init_app()"'),
        )
    ],
    "H227": [lambda p: p.append("views.py", "\nfrom tkinter import messagebox\n")],
    "H621": [lambda p: django(p, "DEFAULT_FILE_STORAGE = 'django.core.files.storage.FileSystemStorage'\n")],
    "H622": [lambda p: django(p, "CSRF_TRUSTED_ORIGINS = ['shop.example.org']\n")],
    "H623": [
        lambda p: (
            django(
                p,
                "MIDDLEWARE = ['django.middleware.csrf.CsrfViewMiddleware']\n",
                web="waitress-serve --port=$PORT site1.wsgi:application",
            ),
            p.write("templates/form.html", "<form method=post>{% csrf_token %}</form>"),
        )
    ],
    "H917": [
        lambda p: (
            django(p, web="gunicorn app:app"),
            p.remove("manage.py"),
            p.remove("site1/settings.py"),
            p.write("requirements.txt", "flask==3.1.2\nflask-sqlalchemy==3.1.1\ngunicorn==23.0.0\n"),
            p.write(
                "app.py",
                "from flask import Flask\nfrom flask_sqlalchemy import SQLAlchemy\n\napp = Flask(__name__)\n"
                "db = SQLAlchemy()\n\nif __name__ == '__main__':\n    with app.app_context():\n        db.create_all()\n",
            ),
        )
    ],
    "H918": [
        lambda p: p.append(
            "views.py",
            "\n\nimport os\n\nimport psycopg\n\n\ndef other():\n"
            "    return psycopg.connect(os.environ['DATABASE_URL'], sslmode='disable')\n",
        )
    ],
    "H919": [
        lambda p: p.append(
            "models.py",
            "\nfrom sqlalchemy import create_engine\n\nother = create_engine('postgresql+psycopg://me@localhost/old')\n",
        )
    ],
    "H226": [lambda p: p.append("requirements.txt", "requests==2.32.99\n")],
    "H128": [lambda p: p.replace("templates/notes.html", "{{ form.body.label }}", "{{ form.title.label }}")],
    "H915": [
        lambda p: p.write(
            "migrations/versions/0002_b.py",
            "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '0002'\ndown_revision = '0001'\n\n\n"
            "def upgrade():\n    op.add_column('notes', sa.Column('rank', sa.Integer(), nullable=False))\n",
        )
    ],
    "H916": [
        lambda p: p.write(
            "migrations/versions/0002_b.py",
            "from alembic import op\n\nrevision = '0002'\ndown_revision = '0001'\n\n\n"
            "def upgrade():\n    op.execute('INSERT OR IGNORE INTO notes (body) VALUES (1)')\n",
        ),
        lambda p: p.write(
            "migrations/versions/0002_b.py",
            "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '0002'\ndown_revision = '0001'\n\n\n"
            "def upgrade():\n    op.alter_column('notes', 'body', existing_type=sa.Text(), type_=sa.Integer())\n",
        ),
    ],
    "H913": [
        lambda p: p.replace(
            "models.py", "    body: Mapped[str]\n", "    body: Mapped[str]\n    body: str = mapped_column()\n"
        ),
        lambda p: p.replace("models.py", ", primary_key=True)", ")"),
    ],
    "H914": [
        lambda p: (
            p.replace(
                "models.py", "    body: Mapped[str]\n", "    body: Mapped[str]\n    tags = relationship('Tag')\n"
            ),
            p.replace("models.py", "import Mapped, mapped_column", "import Mapped, mapped_column, relationship"),
            p.append("models.py", "\n\nclass Tag(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n"),
            p.write(
                "migrations/versions/0002_b.py",
                "from alembic import op\n\nrevision = '0002'\ndown_revision = '0001'\n"
                "\n\ndef upgrade():\n    op.create_table('tag', 'id')\n",
            ),
        )
    ],
    "H517": [lambda p: p.replace("views.py", "    redirect,\n", "    redirct,\n    redirect,\n")],
    "H518": [
        lambda p: (
            p.append("requirements.txt", GUNICORN),
            p.write("Procfile", "web: gunicorn main:app\n"),
            shutil.rmtree(p.path / "migrations"),
            p.write(
                "main.py",
                "from flask import Flask, flash\n\napp = Flask(__name__)\n\n\n@app.get('/')\ndef index():\n"
                "    flash('hello')\n    return ''\n\n\ndef init_app():\n    return app\n",
            ),
        )
    ],
    "H519": [
        lambda p: p.write(
            "main.py",
            "from flask import Flask\nfrom flask_sqlalchemy import SQLAlchemy\n\napp = Flask(__name__)\n"
            "data = SQLAlchemy(app)\napp.config['SQLALCHEMY_DATABASE_URI'] = 'x'\n\n\ndef init_app():\n    return app\n",
        )
    ],
    "H225": [
        lambda p: (
            without_psycopg(p),
            p.write("requirements.txt", p.read("requirements.txt").replace("sqlalchemy==2.1.", "sqlalchemy==2.0.4")),
            p.append("requirements.txt", "psycopg2-binary==2.9.12\nasyncpg==0.31.0\n"),
            p.write("deploy/environment.py", p.read("deploy/environment.py").replace("sql+psycopg", "sql")),
            p.append(
                "database.py",
                "\n\nimport os\n\nfrom sqlalchemy.ext.asyncio import create_async_engine\n\n"
                "engine = create_async_engine(os.environ['DATABASE_URL'].replace('postgres:', 'postgresql:'))\n",
            ),
        )
    ],
    "H124": [lambda p: p.append("templates/base.html", '<script src="https://cdn.example.org/x.js"></script>\n')],
    "H125": [lambda p: p.append("templates/base.html", "{{ '1'|linebreaks }}\n")],
    "H126": [lambda p: p.write("static/app.js", 'fetch("http://localhost:5000/api")\n')],
    "H127": [
        lambda p: p.replace(
            "views.py",
            "    return notes_page(NoteForm())\n",
            "    import time\n\n    time.sleep(45)\n    return notes_page(NoteForm())\n",
        )
    ],
    "H419": [lambda p: p.procfile("python -m deploy.server --bind 0.0.0.0")],
    "H614": [lambda p: p.replace("config.py", "EXTRA_SOURCES = {}", 'EXTRA_SOURCES = ["https://cdn.example.org"]')],
    "H906": [
        lambda p: p.replace("models.py", "    body: Mapped[str]\n", "    body: Mapped[str]\n    author: Mapped[str]\n")
    ],
    "H907": [
        lambda p: p.write(
            "migrations/versions/0001_notes.py",
            p.read("migrations/versions/0001_notes.py").replace("None", '"0000"', 1),
        ),
    ],
    "H909": [  # a copy that has kept its number
        lambda p: p.write("migrations/versions/0002_b.py", p.read("migrations/versions/0001_notes.py")),
    ],
    "H910": [
        lambda p: p.write("migrations/versions/helpers.py", "NAMES = []\n"),
        lambda p: p.write(
            "migrations/versions/0002_b.py", "revision = '0002'\ndown_revision = '0001'\nif True:\npass\n"
        ),
    ],
    "H911": [
        lambda p: p.write(
            "migrations/versions/0002_b.py",
            "from alembic import op\n\nrevision = '0002'\ndown_revision = '0001'\n"
            "\n\ndef upgrade():\n    op.create_table('notes')\n",
        )
    ],
    "H953": [
        lambda p: p.append("views.py", "def broken(:\n"),
        lambda p: p.append("forms.py", "if True:\nprint(1)\n"),
        lambda p: p.append("models.py", "NAME = “notes”\n"),
    ],
    "H955": [lambda p: p.append("forms.py", f"# {'x' * 1_000_000}\n")],
    "H131": [
        lambda p: with_page(
            p,
            '@bp.get("/new")\ndef new():\n    return render_template("new.html")\n',
            f'<form method="post">{CSRF_FIELD}<input name="title"><button>Send</button></form>',
        )
    ],
    "H132": [
        lambda p: p.append("templates/base.html", "{{ url_for('notes.index', '2') }}\n"),
        lambda p: p.append("views.py", '\n\ndef elsewhere():\n    return url_for("notes.index", 2)\n'),
    ],
    "H133": [
        lambda p: with_page(
            p,
            '@bp.route("/new", methods=["GET", "POST"])\ndef new():\n    form = NoteForm()\n'
            '    if form.validate_on_submit():\n        return redirect(url_for("notes.index"))\n'
            '    return render_template("new.html", form=form)\n',
            "<form>{{ form.hidden_tag() }}{{ form.body() }}<button>Send</button></form>",
        )
    ],
    "H134": [
        lambda p: with_page(
            p,
            '@bp.route("/new", methods=["GET", "POST"])\ndef new():\n    return render_template("new.html")\n',
            f'<form method="post">{CSRF_FIELD}<input type="file" name="photo"><button>Send</button></form>',
        )
    ],
    "H135": [
        lambda p: with_page(
            p,
            'from flask import request\n\n\n@bp.route("/new", methods=["GET", "POST"])\ndef new():\n'
            '    if request.method == "POST":\n        return request.form["email"]\n'
            '    return render_template("new.html")\n',
            f'<form method="post">{CSRF_FIELD}<input name="mail"><button>Send</button></form>',
        )
    ],
    "H136": [
        lambda p: plain(
            p,
            "from flask_wtf import CSRFProtect\n\nCSRFProtect(app)\n\n\n"
            '@app.route("/new", methods=["GET", "POST"])\ndef new():\n    return render_template("new.html")\n',
            "flask-wtf==1.2.2\n",
            new='<form method="post"><input name="mail"><button>Send</button></form>\n',
        )
    ],
    "H137": [
        lambda p: with_page(
            p,
            '@bp.get("/notes/new")\ndef new():\n    return render_template("new.html")\n',
            '<img src="static/icon.svg" alt="">',
        )
    ],
    "H138": [
        lambda p: with_page(
            p,
            '@bp.get("/new")\ndef new():\n    return render_template("new.html")\n',
            "{{ teacher.name.upper() }}",
        ),
        lambda p: p.replace("templates/notes.html", "{% block content %}", "{% block content %}{{ teacher.name() }}"),
    ],
    "H139": [
        lambda p: p.append(
            "views.py",
            '\n\n@bp.post("/more")\ndef more():\n    db.session.add(Note(body="x"))\n'
            '    return redirect(url_for("notes.index"))\n',
        )
    ],
    "H425": [
        lambda p: plain(
            p,
            "from flask_limiter import Limiter\nfrom flask_limiter.util import get_remote_address\n\n"
            'Limiter(get_remote_address, app=app, default_limits=["9 per day"])\n',
            "flask-limiter==4.0.0\n",
        )
    ],
    "H433": [
        lambda p: plain(
            p,
            "from flask_limiter import Limiter\nfrom werkzeug.middleware.proxy_fix import ProxyFix\n\n"
            "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)\n"
            'Limiter(lambda: "everybody", app=app, default_limits=["9 per day"])\n',
            "flask-limiter==4.0.0\n",
        )
    ],
    "H426": [
        lambda p: (
            plain(
                p,
                'from flask_socketio import SocketIO\n\nSocketIO(app, async_mode="gevent")\n',
                "flask-socketio==5.5.1\n",
            ),
            p.write("Procfile", "web: gunicorn -w 1 --threads 50 app:app\n"),
        )
    ],
    "H522": [
        lambda p: p.append(
            "views.py", "\n\ndef everything():\n    return db.session.execute('SELECT body FROM notes')\n"
        ),
        lambda p: p.replace(
            "views.py",
            "    return notes_page(NoteForm())\n",
            "    db.session.execute('SELECT 1')\n    return notes_page(NoteForm())\n",
        ),
    ],
    "H523": [
        lambda p: p.append(
            "views.py",
            "\n\nfrom flask import session\n\n\n@bp.before_app_request\ndef guard():\n"
            '    if "user" not in session:\n        return redirect(url_for("notes.index"))\n',
        )
    ],
    "H524": [
        lambda p: p.append(
            "views.py",
            "\n\ndef login_required(view):\n    return view\n\n\n"
            '@login_required\n@bp.get("/mine")\ndef mine():\n    return "x"\n',
        )
    ],
    "H525": [
        lambda p: p.append(
            "views.py", '\n\nimport subprocess\n\n\ndef video():\n    subprocess.run(["ffmpeg", "-version"])\n'
        )
    ],
    "H140": [
        lambda p: (p.write("templates/photo.png", "x"), p.append("templates/base.html", '<img src="photo.png">\n'))
    ],
    "H141": [
        lambda p: (
            p.write("static/send.js", 'fetch("/api", {method: "POST", body: JSON.stringify({a: 1})})\n'),
            p.append(
                "views.py",
                '\n\nfrom flask import request\n\n\n@bp.post("/api")\ndef api():\n    return request.get_json()\n',
            ),
        )
    ],
    "H142": [lambda p: p.append("models.py", '\n\nAVATARS = "https://www.gravatar.com/avatar/"\n')],
    "H427": [
        lambda p: (
            cleared(p),
            p.write("requirements.txt", "fastapi==0.121.0\nuvicorn==0.38.0\n"),
            p.write("Procfile", "web: python app.py\n"),
            p.write(
                "app.py",
                "import os\n\nimport uvicorn\nfrom fastapi import FastAPI\n\napp = FastAPI()\n\n"
                'uvicorn.run(app, host="0.0.0.0", port=int(os.environ["PORT"]))\n',
            ),
        )
    ],
    "H526": [
        lambda p: plain(
            p,
            "from flask_login import LoginManager\n\nlogins = LoginManager()\n\n\n"
            "@logins.user_loader\ndef load(number):\n    return None\n",
            "flask-login==0.6.3\n",
        )
    ],
    "H527": [
        lambda p: p.replace(
            "views.py",
            "    return notes_page(NoteForm())\n",
            "    import random\n\n    random.choice(Note.query.all())\n    return notes_page(NoteForm())\n",
        )
    ],
    "H528": [
        lambda p: plain(
            p,
            "from flask_login import LoginManager, login_user\n\nlogins = LoginManager(app)\n\n\n"
            "@logins.user_loader\ndef load(number):\n    return None\n\n\n"
            '@app.route("/in")\ndef enter():\n    login_user(load(1))\n    return "x"\n',
            "flask-login==0.6.3\n",
        )
    ],
    "H529": [
        lambda p: p.append(
            "views.py",
            '\n\nfrom flask import jsonify\n\n\n@bp.get("/all")\ndef everything():\n'
            "    return jsonify(Note.query.all())\n",
        )
    ],
    "H530": [
        lambda p: p.append(
            "views.py",
            "\n\nfrom threading import Thread\n\n\ndef count():\n    print(db.session.scalar(select(1)))\n\n\n"
            "def later():\n    Thread(target=count).start()\n",
        )
    ],
    "H531": [
        lambda p: p.append("views.py", "\n\nimport inspect\n\n\ndef names():\n    return inspect.getargspec(names)\n")
    ],
    "H624": [lambda p: (django(p), p.write("templates/a.html", "{% load staticfiles %}"))],
    "H625": [lambda p: p.append("config.py", "\n\nclass Config:\n    PAGE_SIZE = 5\n")],
    "H922": [
        lambda p: (
            p.append("forms.py", "\n\nfrom werkzeug.security import generate_password_hash\n"),
            p.append("forms.py", "\n\ndef keep(user, word):\n    user.hashed = generate_password_hash(word)\n"),
            p.append("models.py", "\n\nclass Words:\n    hashed = mapped_column(String(100))\n"),
            p.replace(
                "models.py", "from database import db\n", "from sqlalchemy import String\n\nfrom database import db\n"
            ),
        )
    ],
    "H923": [
        lambda p: p.append(
            "views.py",
            "\n\nfrom sqlalchemy import text\n\n\ndef tables():\n"
            "    return db.session.execute(text('SELECT name FROM sqlite_master'))\n",
        )
    ],
    "H144": [
        lambda p: p.append(
            "views.py",
            '\n\ndef letter(token):\n    return f"Follow http://localhost:5000/reset/{token} within an hour"\n',
        )
    ],
    "H145": [
        lambda p: (
            plain(
                p,
                '@app.errorhandler(404)\ndef lost(error):\n    return "x"\n',
                index="{% extends 'base.html' %}",
                base="{{ now.year }}",
            )
            or p.replace(
                "app.py", '    return "x"\n\n\n@app.error', '    return render_template("index.html")\n\n\n@app.error'
            )
        )
    ],
    "H146": [lambda p: p.write("static/weather.js", 'const url = "https://api.open-meteo.com/v1";\nfetch(url);\n')],
    "H147": [lambda p: p.append("static/style.css", "\nbody {\n  background: url(images/hero.png);\n}\n")],
    "H428": [
        lambda p: (
            plain(p, "", "sqlalchemy==2.1.9\nalembic==1.20.1\n"),
            p.write("alembic.ini", "[alembic]\nscript_location = alembic\nsqlalchemy.url = driver://user@host/name\n"),
            p.write(
                "alembic/env.py", "from alembic import context\n\ncontext.config.get_main_option('sqlalchemy.url')\n"
            ),
            p.write("Procfile", "release: alembic upgrade head\nweb: gunicorn app:app\n"),
        )
    ],
    "H532": [
        lambda p: p.replace(
            "main.py", "    app.register_blueprint(", "    db.init_app(app)\n    app.register_blueprint("
        )
    ],
    "H533": [
        lambda p: (
            plain(p, "import api\n\napp.register_blueprint(api)\n"),
            p.write("api.py", 'from flask import Blueprint\n\nbp = Blueprint("api", __name__)\n'),
        )
    ],
    "H534": [
        lambda p: p.append("views.py", '\n\n@bp.get("/note/<int:note_id>")\ndef show(id):\n    return str(id)\n'),
        lambda p: p.append("views.py", '\n\n@bp.get("/note/<int:note_id>")\ndef show():\n    return "x"\n'),
    ],
    "H535": [
        lambda p: p.append(
            "forms.py",
            "\n\nfrom wtforms import StringField\nfrom wtforms.validators import DataRequired\n\n\n"
            'class NameForm(FlaskForm):\n    name = StringField("Name", validators=[DataRequired])\n',
        )
    ],
    "H536": [
        lambda p: plain(
            p,
            'from flask import Blueprint\n\nbp = Blueprint("more", __name__)\n\n\n'
            'if __name__ == "__main__":\n    app.register_blueprint(bp)\n',
        )
    ],
    "H537": [lambda p: p.append("models.py", "\n\nimport datetime as clock\n\nNOW = clock.now\n")],
    "H626": [
        lambda p: plain(p, 'class Config:\n    secret_key = os.environ["KEY"]\n\n\napp.config.from_object(Config)\n')
    ],
    "H924": [
        lambda p: p.replace(
            "main.py",
            "    return app\n",
            "    with app.app_context():\n        models.Note.query.count()\n    return app\n",
        )
    ],
    "H925": [
        lambda p: plain(
            p,
            "from flask_sqlalchemy import SQLAlchemy\n\n"
            'app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace("postgres:", "postgresql:")\n'
            "db = SQLAlchemy(app)\nwith app.app_context():\n    db.create_all()\n\n\n"
            "class Note(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n",
            "flask-sqlalchemy==3.1.1\nsqlalchemy==2.0.44\npsycopg2-binary==2.9.11\n",
        )
    ],
    "H927": [
        lambda p: plain(
            p,
            "from flask_sqlalchemy import SQLAlchemy\nfrom flask_wtf import FlaskForm\nfrom wtforms import StringField\n"
            "from wtforms.validators import Length\n\n"
            'app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace("postgres:", "postgresql:")\n'
            "db = SQLAlchemy(app)\n\n\n"
            "class Tag(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n    name = db.Column(db.String(20))\n\n\n"
            'class TagForm(FlaskForm):\n    name = StringField("Name", validators=[Length(max=80)])\n\n\n'
            "def tag(form):\n    return Tag(name=form.name.data)\n",
            "flask-sqlalchemy==3.1.1\nsqlalchemy==2.0.44\npsycopg2-binary==2.9.11\nflask-wtf==1.3.0\nwtforms==3.3.2\n",
        )
    ],
    "H148": [
        lambda p: p.replace("templates/base.html", "</body>", "{% if config.DEBUG = 1 %}x{% endif %}</body>"),
        lambda p: p.replace("templates/base.html", "</body>", "{{ url_for('notes.index' }}</body>"),
        lambda p: plain(p, "", new="{% extends base.html %}"),
    ],
    "H149": [
        lambda p: (
            p.append("views.py", '\n\n@bp.post("/borrow")\ndef borrow():\n    return "x"\n'),
            p.replace("templates/base.html", "</body>", "<a href=\"{{ url_for('notes.borrow') }}\">x</a></body>"),
        )
    ],
    "H150": [
        lambda p: (
            plain(
                p,
                "from flask_login import LoginManager\n\nlogins = LoginManager(app)\n\n\n"
                "@logins.user_loader\ndef load(number):\n    return None\n",
                "flask-login==0.6.3\n",
                index="{{ current_user.username[0] }}",
            ),
            p.replace("app.py", '    return "x"\n', '    return render_template("index.html")\n'),
        )
    ],
    "H429": [
        lambda p: (
            plain(
                p,
                'if __name__ == "__main__":\n'
                '    app.run(host="0.0.0.0", port=int(os.environ["PORT"]), ssl_context="adhoc")\n',
                "pyopenssl==25.0.0\n",
            ),
            p.write("Procfile", "web: python app.py\n"),
        )
    ],
    "H538": [
        lambda p: plain(p, "") or p.replace("app.py", 'return "x"', 'return request.args["page"]'),
        lambda p: plain(p, "") or p.replace("app.py", 'return "x"', 'return str(int(request.args.get("page")))'),
    ],
    "H539": [
        lambda p: p.append("views.py", '\n\ndef wrong():\n    return Note(text="x")\n'),
    ],
    "H540": [
        lambda p: (
            plain(p, "", index="x"),
            p.replace("app.py", '@app.route("/")', '@app.route("/home")'),
            p.replace("app.py", '    return "x"\n', '    return render_template("index.html")\n'),
        )
    ],
    "H928": [
        lambda p: p.append(
            "models.py",
            "\n\nimport datetime as dt\n\n\nclass Tag:\n    made = mapped_column(default=dt.datetime.now())\n",
        )
    ],
}


# What .gitignore would hold back, and is committed all the same.
HELD_BACK = {"H107": ["venv"], "H601": [".env"], "H110": [".heroku"]}


# Those that need more than a change of files have tests of their own, here and in test_dyno.py.
ALL_IDS = set(BREAK) | {"H101", "H102", "H113", "H115", "H954"} | {f"H97{number}" for number in range(1, 10)}


@pytest.fixture
def copy(baked, tmp_path):
    """An English project of a test's own."""
    project = baked(language="en")
    return Project(shutil.copytree(project.path, tmp_path / "app", symlinks=True, ignore=SOURCES), project.environ)


def break_and_commit(project, *changes):
    """Make changes of BREAK, each an id and which of its changes, and commit them."""
    force = []
    for id, number in changes:
        BREAK[id][number](project)
        force += [name for name in HELD_BACK.get(id, ()) if (project.path / name).exists()]
    project.commit(*force)


def run(project, *arguments, **options):
    """Return (exit status, report) of the doctor as a command, on a machine with nothing but Python."""
    result = project.run(sys.executable, "-I", "-S", "-c", ISOLATED, *arguments, "--json", check=False, **options)
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def ids(report):
    return {finding["id"] for finding in report["findings"]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_untouched_project_has_no_finding(baked, language):
    status, report = run(baked(language=language))
    assert (status, report["findings"], report["deploys"]) == (0, [], None)


@pytest.mark.parametrize(
    ("id", "number"), [(id, number) for id, changes in BREAK.items() for number in range(len(changes))]
)
def test_exactly_the_right_check_fires(copy, diagnose, id, number):
    break_and_commit(copy, (id, number))
    status, report = diagnose(copy.path)
    assert ids(report) - FOLLOW.get(id, set()) == {id}, report["findings"]
    levels = {finding["level"] for finding in report["findings"]}
    assert status == (1 if "error" in levels else 0)
    for finding in report["findings"]:
        assert "{" not in finding["title"].replace("{…}", ""), finding
        assert finding["fix"]
        assert 1 <= finding["step"] <= 13


# --- what lies around a project ---


def test_every_check_has_a_project_that_fails_it(baked):
    listed = baked().run(sys.executable, "-m", "doctor", "H000", check=False).stderr
    assert set(re.findall(r"H\d{3}", listed)) - {"H000"} == ALL_IDS


def test_a_folder_without_a_commit_is_not_pushed(copy):
    shutil.rmtree(copy.path / ".git")
    status, report = run(copy)
    assert (status, ids(report)) == (1, {"H101"})


@pytest.mark.parametrize("variable", ["CI", "DYNO"])
def test_the_platform_s_own_ci_has_no_git_and_is_content(copy, variable):
    shutil.rmtree(copy.path / ".git")
    for name in copy.read(".slugignore").split():
        target = copy.path / name.strip("/")
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    status, report = run(copy, **{variable: "true"})
    assert (status, report["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("folder", "modules", "level"),
    [
        ("shop", "", "error"),  # which the code imports
        (".claude/worktrees/menu-page", "", "warning"),
        (".claude/worktrees/menu-page", '[submodule "b"]\n\tpath = b\n\turl = https://example.com/b\n', "error"),
    ],
)
def test_a_link_to_another_repository_fails_where_it_is_asked_for(copy, diagnose, folder, modules, level):
    copy.append("main.py", "\nimport shop  # noqa\n" if folder == "shop" else "\n")
    if modules:
        copy.write(".gitmodules", modules)
    copy.commit()
    link = f"160000,{'1' * 40},{folder}"
    copy.run(*GIT, "update-index", "--add", "--cacheinfo", link)
    copy.run(*GIT, "commit", "-q", "-m", "A link")
    found = {finding["id"]: finding["level"] for finding in diagnose(copy.path)[1]["findings"]}
    assert found["H113"] == level


def test_an_app_below_the_root_of_its_repository_is_named(copy, diagnose, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    shutil.move(copy.path, outer / "bot")
    shutil.rmtree(outer / "bot" / ".git")
    project = Project(outer / "bot", copy.environ)
    project.run("git", "init", "-q", cwd=outer)
    project.commit(cwd=outer)
    status, report = diagnose(project.path)
    assert (status, ids(report)) == (1, {"H102"})
    assert "bot" in report["findings"][0]["title"]


def test_an_app_in_a_folder_of_the_project_is_named(copy, diagnose):
    """The guide's first mistake: everything one folder too deep."""
    (copy.path / "bot").mkdir()
    for path in list(copy.path.iterdir()):
        if path.name not in (".git", "bot", "README.md", "LICENSE"):
            path.rename(copy.path / "bot" / path.name)
    copy.commit()
    status, report = diagnose(copy.path)
    assert status == 1
    assert "H102" in ids(report)


def test_what_is_not_committed_is_named_and_not_judged(copy):
    """A push sends the commit, so a mistake that is only in the folder is not in it, and a cure neither."""
    copy.write("Procfile", "worker: x\n")
    copy.write("neu ё.txt", "x")
    status, report = run(copy)
    assert (status, report["findings"]) == (0, [])
    assert report["unpushed"] == ["Procfile", "neu ё.txt"]
    assert "Procfile, neu ё.txt" in copy.run(sys.executable, "-m", "doctor").stdout


def test_what_a_commit_would_add_or_mend_is_told_apart(copy):
    break_and_commit(copy, ("H302", 0))
    copy.write(".python-version", f"{NEWEST_PYTHON}\n")
    copy.append("views.py", "\nimport requests\n")
    status, report = run(copy)
    assert (status, ids(report)) == (1, {"H302"})
    assert [(f["id"], f["file"]) for f in report["uncommitted"]] == [("H204", "views.py")]
    output = copy.run(sys.executable, "-m", "doctor", check=False).stdout
    assert "In the folder this is already put right: commit it." in output
    assert output.index("not committed yet, so not in this push:") < output.index("H204  views.py")


def test_a_file_of_the_project_s_own_is_not_run_in_place_of_python_s(copy):
    """python -m doctor looks for modules in the project first."""
    names = ("random", "email", "tomllib", "pathlib", "argparse", "dataclasses", "json", "difflib", "subprocess")
    for name in names:
        copy.write(f"{name}.py", 'raise SystemExit("it was run")\n')
    copy.commit()
    result = copy.run(sys.executable, "-m", "doctor", check=False)
    assert "it was run" not in result.stdout + result.stderr
    assert result.returncode == 1
    assert all(f"H117  {name}.py" in result.stdout for name in set(names) - {"tomllib"})  # which Flask needs not


def test_an_older_python_gets_one_sentence(baked):
    """Run here by an older version's number: the lines before it are read by every Python 3."""
    project = baked(language="ru")
    code = "import sys; sys.version_info = (3, 10, 4, 'final', 0); sys.path.insert(0, '.')\nimport doctor"
    result = project.run(sys.executable, "-c", code, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Доктору нужен Python 3.11 или новее.\n"


def test_stand_ins_are_named(copy):
    assert (
        "your-github-name (README.md, app.json, DEPLOY.md, ELSEWHERE.md)"
        in copy.run(sys.executable, "-m", "doctor").stdout
    )
    for name in ("README.md", "app.json", "DEPLOY.md", "ELSEWHERE.md"):
        copy.write(name, copy.read(name).replace("your-github-name", "ada"))
    copy.commit()
    assert "your-github-name" not in copy.run(sys.executable, "-m", "doctor").stdout


# --- silence ---

SILENCE = '\n[[tool.doctor.silence]]\nid = "H603"\nreason = "a plugin reads it"\n'


def test_what_is_silenced_does_not_count_and_is_listed_on_request(copy):
    break_and_commit(copy, ("H603", 0), ("H904", 0))
    copy.append("pyproject.toml", SILENCE + SILENCE.replace("H603", "H904"))
    copy.commit()
    status, report = run(copy)
    assert (status, report["findings"]) == (0, [])
    assert {(f["id"], f["reason"]) for f in report["silenced"]} == {
        ("H603", "a plugin reads it"),
        ("H904", "a plugin reads it"),
    }
    output = copy.run(sys.executable, "-m", "doctor").stdout
    assert "Silenced in pyproject.toml: 2 (python -m doctor --silenced)." in output.splitlines()[-1]
    assert "a plugin reads it" not in output
    listed = copy.run(sys.executable, "-m", "doctor", "--silenced").stdout
    assert listed.count("a plugin reads it") == 2
    assert "- H904" in listed


def test_a_silence_for_one_file_leaves_the_others(copy, diagnose):
    copy.append("views.py", "\nimport requests\n")
    copy.append("forms.py", "\nimport pandas\n")
    entry = SILENCE.replace("H603", "H204") + 'file = "views.py"\n'
    copy.append("pyproject.toml", entry)
    copy.commit()
    status, report = diagnose(copy.path)
    assert (status, [f["file"] for f in report["findings"]]) == (1, ["forms.py"])
    assert [f["file"] for f in report["silenced"]] == ["views.py"]


# --- the JSON ---


def test_the_json_is_as_its_schema_says(copy):
    schema = json.loads((ROOT / "docs" / "doctor.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    break_and_commit(copy, ("H603", 0), ("H904", 0), ("H302", 0))
    copy.append("pyproject.toml", SILENCE)
    copy.commit()
    copy.append("views.py", "\nimport requests\n")
    report = run(copy)[1]
    validator.validate(report)
    assert report["findings"]
    assert report["silenced"]
    assert report["uncommitted"]
    assert report["template"] == CONTEXT["_version"]
    assert report["commit"] == copy.run("git", "rev-parse", "HEAD").stdout.strip()
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(report | {"deploys": "yes"})


def test_a_broken_main_does_not_stop_the_doctor(copy, diagnose):
    copy.write("main.py", "def init_app(:\n")
    copy.commit()
    status, report = diagnose(copy.path)
    assert (status, ids(report)) == (1, {"H953"})


def test_large_files_are_not_read(copy, diagnose):
    copy.write("big.py", b"x = '\xff'\n" * 200_000)
    copy.commit()
    assert diagnose(copy.path)[0] == 0


def test_what_cannot_be_checked_is_said(baked, tmp_path):
    result = baked().run(sys.executable, "-m", "doctor", "--root", str(tmp_path / "nowhere"), check=False)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_ten_mistakes_at_once_are_all_named(copy, diagnose):
    names = ["H104", "H110", "H107", "H302", "H404", "H501", "H601", "H602", "H913", "H209"]
    break_and_commit(copy, *((id, 0) for id in names))
    status, report = run(copy)
    assert status == 1
    assert set(names) <= ids(report)
    assert (status, report) == diagnose(copy.path)  # what the other tests look at
    output = copy.run(sys.executable, "-m", "doctor", check=False).stdout
    assert all(f"✗ {id} " in output for id in names)


def large_photos(project):
    for number in range(4):
        project.write(f"data/{number}.jpg", f"{number}" + "x" * 350_000)


def many_files(project):
    for number in range(700):
        project.write(f"data/{number}.json", "{}")


def large_tables(project):
    for number in range(2):
        project.write(f"a{number}.py", f"x = [{'1,' * 30_000}]\n")


@pytest.mark.parametrize("much", [large_photos, many_files, large_tables])
def test_much_beside_the_app_hides_nothing_of_it(copy, much):
    """Also not the folders whose names come later. The limits are lower here than they are."""
    copy.replace("deploy/errors.py", "from contextlib", "import requests\nfrom contextlib")
    much(copy)
    copy.commit()
    code = (
        "import sys; from doctor import files, project; files.MAX_TOTAL = 2_000_000; files.MAX_FILES = 600\n"
        "project.MAX_NODES = 60_000; from doctor import __main__ as m; sys.exit(m.main(['--json']))"
    )
    result = copy.run(sys.executable, "-c", code, check=False)
    report = json.loads(result.stdout)
    assert (result.returncode, ids(report) - {"H205", "H603"}) == (1, {"H204"})
    assert len(report["running"]) > 20


def test_a_link_to_a_file_is_that_file(copy):
    (copy.path / "real").mkdir()
    copy.run("git", "mv", "views.py", "real/views.py")
    copy.replace("real/views.py", "\nfrom flask", "\nimport requests\nfrom flask")
    copy.link("views.py", "real/views.py")
    copy.commit()
    assert ids(run(copy)[1]) == {"H204"}


def test_a_name_of_python_s_own_is_no_file_that_a_push_lacks(copy):
    copy.write("random.py", "x = 1\n")
    result = copy.run(sys.executable, "-m", "doctor", "--json")
    assert json.loads(result.stdout)["findings"] == []


@pytest.mark.parametrize(
    ("name", "text"), [("deploy/dates.py", "<<<<<<< a\nx = 1\n=======\nx = 2\n>>>>>>> b\n"), ("views.py.rej", "@@\n")]
)
def test_an_update_that_waits_for_a_choice_is_an_error_before_it_is_committed(copy, name, text):
    copy.write(name, text)
    result = copy.run(sys.executable, "-m", "doctor", check=False)
    assert result.returncode == 1
    assert "not finished: choose" in result.stdout
    assert "No mistake found" not in result.stdout


def test_marks_in_the_doctor_itself_are_told_in_one_line(copy):
    copy.append("doctor/pages.py", "<<<<<<< a\n")
    result = copy.run(sys.executable, "-m", "doctor", check=False)
    assert result.returncode == 1
    assert re.fullmatch(r".*pages\.py:\d+: .*; git checkout -- doctor\n", result.stderr)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda answers: "-".join(answers.values()))
def test_every_choice_gives_a_project_without_a_finding(baked, diagnose, sample):
    status, report = diagnose(baked(**sample).path)
    assert (status, report["findings"]) == (0, [])


@pytest.mark.slow
def test_the_project_s_own_tests_stop_a_push_that_would_not_deploy(copy):
    command = ["pytest", "-q", "test/test_deploy.py"]
    assert copy.run(*command).returncode == 0
    break_and_commit(copy, ("H404", 0))
    result = copy.run(*command, check=False)
    assert result.returncode == 1
    assert "H404 Procfile" in result.stdout


@pytest.mark.slow
def test_before_the_first_commit_the_project_s_own_tests_say_so(copy):
    shutil.rmtree(copy.path / ".git")
    assert "there is no commit yet" in copy.run("pytest", "-q", "-rs", "test/test_deploy.py").stdout


# --- what it says ---


def test_worst_comes_first_and_the_last_line_decides(copy):
    break_and_commit(copy, ("H603", 0), ("H904", 0))
    lines = copy.run(sys.executable, "-m", "doctor", check=False).stdout.splitlines()
    assert lines[0].startswith("✗ H904")
    assert next(i for i, line in enumerate(lines) if line.startswith("! H603")) > 0
    assert lines[-2] == "This push would not deploy: mistakes 1, warnings 1."
    assert lines[-1].startswith("Looked at: ")
    assert lines[-1].endswith("only python -m doctor --dyno can show.")
    assert "\033" not in "".join(lines)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_only(baked, variables, coloured):
    import pty

    outer, inner = pty.openpty()
    project = baked()
    environ = project.environ | variables
    subprocess.run([sys.executable, "-m", "doctor"], cwd=project.path, env=environ, stdout=inner, check=True)
    os.close(inner)
    assert ("\033[32m" in os.read(outer, 10_000).decode("utf-8")) is coloured
    os.close(outer)


@pytest.mark.parametrize(("language", "sentence"), [("en", "No mistake found."), ("ru", "Ошибок не найдено.")])
def test_it_speaks_the_project_s_language(baked, language, sentence):
    assert sentence in baked(language=language).run(sys.executable, "-m", "doctor").stdout


def test_every_check_can_be_explained(doctor, capsys):
    for id in sorted(ALL_IDS):
        assert doctor.main([id.lower()]) == 0
        output = capsys.readouterr().out
        assert output.startswith(f"{id}  ")
        assert "{" not in output.replace("{…}", "")
        assert words("en")[id]["why"] in output


def test_an_explanation_is_one_command_away(baked):
    assert words("en")["H404"]["why"] in baked().run(sys.executable, "-m", "doctor", "H404").stdout


# --- arrangements that are known to deploy, in their authors' manner ---

PACKAGE = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()


def create_app():
    app = Flask(__name__)
    app.config.from_object("config.Config")
    db.init_app(app)
    return app
"""
CONFIG = """
import os


class Config:
    SECRET_KEY = os.environ.get("SECRET_KEY") or "you-will-never-guess"
    SQLALCHEMY_DATABASE_URI = os.environ.get("DATABASE_URL", "sqlite:///app.db").replace("postgres://", "postgresql://")
"""
ONE_FILE = 'from flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get("/")\ndef index():\n    return "hello"\n'
ARRANGEMENTS = {
    "a factory in a package, a one-line wsgi.py": {
        "shop/__init__.py": PACKAGE,
        "shop/models.py": "from shop import db\n\n\nclass Item(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n",
        "config.py": CONFIG,
        "wsgi.py": "from shop import create_app\n\napp = create_app()\n",
        "gunicorn.conf.py": "# workers = 40\n",
        "Procfile": "web: gunicorn wsgi:app\n",
        "requirements.txt": "Flask==3.1.3\nFlask-SQLAlchemy==3.1.1\nSQLAlchemy<2.1\npsycopg2-binary==2.9.10\ngunicorn==23.0.0\n",
        ".python-version": "3.13\n",
    },
    "gunicorn with a configuration file": {
        "app.py": ONE_FILE,
        "gunicorn.conf.py": 'import os\n\nworkers = int(os.environ.get("WEB_CONCURRENCY", 2))\nthreads = 5\nbind = f"0.0.0.0:{os.environ.get(\'PORT\', 5006)}"\n',
        "Procfile": "web: gunicorn --config gunicorn.conf.py app:app\n",
        "requirements.txt": "flask\ngunicorn\n",
        ".python-version": f"{NEWEST_PYTHON}\n",
        "app.json": json.dumps({"name": "Start on Python", "repository": "https://example.com/x", "env": {}}),
    },
    "uv": {
        "main.py": ONE_FILE,
        "Procfile": "web: uvicorn --host 0.0.0.0 --port $PORT --interface wsgi main:app\n",
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.12"\ndependencies = ["flask", "uvicorn"]\n',
        "uv.lock": 'version = 1\n\n[[package]]\nname = "flask"\nversion = "3.1.3"\n\n[[package]]\nname = "uvicorn"\nversion = "0.30"\n',
        ".python-version": "3.12\n",
    },
    "Pipenv": {
        "app.py": ONE_FILE + '\n\nif __name__ == "__main__":\n    app.run(debug=True)\n',
        "Procfile": "web: gunicorn app:app --log-file -\n",
        "Pipfile": '[packages]\nflask = "*"\ngunicorn = "*"\n\n[requires]\npython_version = "3.12"\n',
        "Pipfile.lock": json.dumps(
            {
                "_meta": {"requires": {"python_version": "3.12"}},
                "default": {"flask": {"version": "==3.1.3"}, "gunicorn": {"version": "==23"}},
                "develop": {},
            }
        ),
    },
    "one file, the app in the open": {
        "app.py": ONE_FILE,
        "Procfile": "web: gunicorn app:app\n",
        "requirements.txt": "# what it needs\nFlask>=3\ngunicorn\n",
        ".python-version": f"{NEWEST_PYTHON}.1\n",
        "static/style.css": "body {}\n",
        "templates/index.html": "<p>hi\n",
    },
    "waitress and a factory in quotation marks": {
        "hello.py": "from flask import Flask\n\n\ndef create_app():\n    return Flask(__name__)\n",
        "Procfile": "web: waitress-serve --port=$PORT --call hello:create_app\nworker: python worker.py\n",
        "worker.py": "import time\n\nwhile True:\n    time.sleep(60)\n",
        "requirements.txt": "flask\nwaitress\n",
        ".python-version": "3.13\n",
    },
    "the development server of a tutorial, on $PORT": {
        "main.py": 'import os\n\nfrom flask import Flask\n\napp = Flask(__name__)\n\nif __name__ == "__main__":\n    app.run(host="0.0.0.0", port=int(os.environ.get("PORT", 5000)))\n',
        "Procfile": "web: python main.py\n",
        "requirements.txt": "flask\n",
        ".python-version": "3.13\n",
    },
}


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_it_is_quiet_on_what_deploys(baked, diagnose, tmp_path, arrangement):
    project = Project(tmp_path / "arrangement", baked().environ)
    for name, content in ARRANGEMENTS[arrangement].items():
        project.write(name, content)
    project.run("git", "init", "-q")
    project.commit()
    status, report = diagnose(project.path)
    allowed = {"H406"} if "development server" in arrangement else set()  # that is a warning of its own
    assert (status, ids(report) - allowed) == (0, set()), report["findings"]
    assert (status, report) == run(baked(), "--root", str(project.path))
