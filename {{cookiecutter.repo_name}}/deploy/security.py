"""What protects visitors: https only on a dyno, headers that tie the browser down, CSRF."""

from flask import current_app, redirect, request
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

# Refuses every POST that does not carry the token of one of our own pages.
csrf = CSRFProtect()

# What https://developer.mozilla.org/observatory scores.
HEADERS = {
    # The browser loads styles and pictures from this app and nothing else: what a
    # visitor smuggles into a page cannot run, and forms are sent only back here.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # No page of another site may show this one inside a frame, or read its files.
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A file is what its type says, whatever it looks like.
    "X-Content-Type-Options": "nosniff",
    # Other sites do not learn which page a visitor came from. Our own forms need it.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# For a year browsers come by https only, without asking.
HSTS = "max-age=31536000; includeSubDomains"


def init_app(app):
    if app.config["ON_DYNO"]:
        # Heroku's router adds exactly one value to each of these headers. Anywhere
        # else a visitor could write them, so there they are not believed.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_port=1)
    app.before_request(to_https)
    app.after_request(add_headers)
    csrf.init_app(app)


def to_https():
    """Send a visitor of http:// to the same page of https://."""
    insecure = current_app.config["ON_DYNO"] and not request.is_secure
    # The platform itself may ask for /healthz from inside, where there is no https.
    if insecure and request.path != "/healthz":
        return redirect(request.url.replace("http://", "https://", 1), code=308)


def add_headers(response):
    response.headers.update(HEADERS)
    if current_app.config["ON_DYNO"]:
        response.headers["Strict-Transport-Security"] = HSTS
    return response
