"""What protects visitors: https on the internet, headers that tie the browser down, CSRF."""

import ipaddress
import os
import secrets

from flask import current_app, redirect, request
from flask_wtf import CSRFProtect
from werkzeug.exceptions import SecurityError

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
    if home := app.config["PLATFORM"]:
        app.wsgi_app = Router(app.wsgi_app, home)
    else:
        # Werkzeug's own number for the debugger can be computed by all users of this
        # computer. The reloader's processes share this one.
        pin = f"{secrets.randbelow(10**9):09}"
        os.environ.setdefault("WERKZEUG_DEBUG_PIN", f"{pin[:3]}-{pin[3:6]}-{pin[6:]}")
    app.before_request(check_host)
    app.before_request(to_https)
    app.after_request(add_headers)
    csrf.init_app(app)


class Router:
    """Passes on what the platform's router says of a visitor, in what it documents.

    ProxyFix knows the X-Forwarded headers only.
    """

    def __init__(self, wsgi_app, home):
        self.wsgi_app, self.home = wsgi_app, home

    def __call__(self, environ, start_response):
        try:
            address = ipaddress.ip_address(said(environ, self.home.client))
            environ["REMOTE_ADDR"] = str(address)
        except ValueError:
            pass  # nothing documented, or nothing said: the router's own address stays
        secure = not self.home.proto or said(environ, self.home.proto) == "https"
        environ["wsgi.url_scheme"] = "https" if secure else "http"
        return self.wsgi_app(environ, start_response)


def said(environ, header):
    """Return the last value of a header: the one that the nearest router has added."""
    value = environ.get(f"HTTP_{header.upper().replace('-', '_')}", "")
    return value.rpartition(",")[2].strip()


def check_host():
    """Refuse a name that leads here by a trick before anything of the app can answer."""
    if isinstance(request.routing_exception, SecurityError):
        raise request.routing_exception


def to_https():
    """Send a visitor of http:// to the same page of https://."""
    insecure = current_app.config["PLATFORM"] and not request.is_secure
    # The platform itself may ask for /healthz from inside, where there is no https.
    if insecure and request.path != "/healthz":
        return redirect(request.url.replace("http://", "https://", 1), code=308)


def add_headers(response):
    response.headers.update(HEADERS)
    if current_app.config["PLATFORM"]:
        response.headers["Strict-Transport-Security"] = HSTS
    return response
