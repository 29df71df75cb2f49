"""The application factory: init_app() puts the parts together, and nothing else."""

import os

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import config
import database
import forms
import logs
import security
import views


def init_app(environ=None):
    """Return the Flask application.

    environ: a mapping to read the settings from (default: the process environment
    and the file .env). Raises config.ConfigError, one sentence, where it cannot work.
    """
    app = Flask(__name__, instance_path=str(config.ROOT / "instance"))
    app.config.from_mapping(config.load(environ))
    if app.config["ON_DYNO"]:
        # Heroku's router adds exactly one value to each of these headers. Anywhere
        # else a visitor could write them, so there they are not believed.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_port=1)
    logs.init_app(app)
    security.init_app(app)
    database.init_app(app)
    forms.csrf.init_app(app)
    app.register_blueprint(views.bp)
    return app


if __name__ == "__main__":
    # The development server. On Heroku serve.py takes its place.
    init_app().run(port=int(os.environ.get("PORT", "5000")))
