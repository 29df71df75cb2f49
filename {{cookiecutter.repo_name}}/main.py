{%- import cookiecutter.language ~ "/words.jinja" as t -%}
"""{{ t.main_purpose }}"""

import os

from flask import Flask

import config
import deploy
import models  # noqa: F401 - {{ t.main_why_models }}
import views
from database import db


def init_app(environ=None):
    """{{ t.main_init_app }}"""
    app = Flask(__name__)
    app.config.from_object(config)
    # {{ t.main_why_deploy }}
    deploy.init_app(app, db, environ)
    app.register_blueprint(views.bp)
    return app


if __name__ == "__main__":
    # {{ t.main_development_server }}
    init_app().run(port=int(os.environ.get("PORT", "5000")))
