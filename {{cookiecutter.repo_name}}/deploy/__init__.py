"""What makes the app run on a laptop and on a platform. Nobody has to change it."""


def init_app(app, db, environ=None):
    """Make an app ready for a laptop and for the internet.

    db: its Flask-SQLAlchemy object. environ: what the settings are read from (default:
    the process environment and the file .env). Raises environment.ConfigError.
    """
    # Imported here, so that `python -m deploy.postgres` need not wait for Flask.
    from deploy import (
        database,
        dates,
        environment,
        errors,
        health,
        logs,
        security,
        visitors,
    )

    app.config.from_mapping(environment.load(environ))
    logs.init_app(app)
    visitors.init_app(app)
    security.init_app(app)
    database.init_app(app, db)
    errors.init_app(app)
    dates.init_app(app)
    health.init_app(app)
