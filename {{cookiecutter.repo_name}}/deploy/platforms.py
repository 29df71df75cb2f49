"""Where the app runs: how each platform shows itself, and what its router says of a visitor.

A header is named here where the platform documents that its router writes it anew; all
others could have been written by the visitor. Where nothing is documented, none is named.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """name: its name. marks: the variables that are set there, all of them.

    client: the header with the visitor's address. proto: the header with http or https.
    tls: whether its PostgreSQL can be reached with TLS only. here: whether its router
    runs on this same computer, and nobody else may come in.
    """

    name: str
    marks: tuple = ()
    client: str = ""
    proto: str = ""
    tls: bool = False
    here: bool = False


PLATFORMS = (
    # Sets DYNO as Heroku does. https://dokku.com/docs/networking/proxies/nginx/ and
    # https://dokku.com/docs/deployment/methods/git/ (August 2026)
    Platform("Dokku", ("DYNO", "GIT_REV"), "X-Forwarded-For", "X-Forwarded-Proto"),
    # https://devcenter.heroku.com/articles/http-routing#heroku-headers and
    # .../articles/connecting-heroku-postgres (November 2026)
    Platform("Heroku", ("DYNO",), "X-Forwarded-For", "X-Forwarded-Proto", tls=True),
    # https://docs.railway.com/networking/public-networking/specs-and-limits (August 2026)
    Platform("Railway", ("RAILWAY_ENVIRONMENT",), "X-Real-IP", "X-Forwarded-Proto"),
    # https://fly.io/docs/networking/request-headers/ (November 2026)
    Platform("Fly", ("FLY_APP_NAME",), "Fly-Client-IP", "X-Forwarded-Proto"),
    # Nothing is documented of the headers of these (November 2026).
    Platform("Render", ("RENDER",)),
    Platform("Koyeb", ("KOYEB_APP_NAME",)),
    Platform("Amvera", ("AMVERA",)),
    # A server of one's own, as ELSEWHERE.md sets it up: its nginx writes both headers.
    Platform("nginx", ("BEHIND_NGINX",), "X-Real-IP", "X-Forwarded-Proto", here=True),
)
# A computer on the internet that says nothing of itself.
SERVER = Platform("server")


def find(environ):
    """Return the Platform whose marks are in the environment, None on any other computer.

    Heroku's own CI runs on a dyno too, but serves nobody. It sets both of these:
    https://devcenter.heroku.com/articles/heroku-ci#immutable-environment-variables
    """
    in_ci = environ.get("CI") == "true" and "HEROKU_TEST_RUN_ID" in environ
    for platform in PLATFORMS:
        if all(environ.get(mark) for mark in platform.marks):
            return None if platform.name == "Heroku" and in_ci else platform
    return None
