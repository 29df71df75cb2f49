"""What protects visitors: https on the internet, headers that tie the browser down, CSRF."""

import ipaddress
import os
import re
import secrets

from flask import abort, current_app, g, redirect, request
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import SecurityError

from deploy.environment import LOCALHOST, ConfigError


class ForeignSite(CSRFError):
    """The form stands on a page of another site."""

    code = 403


class SameSite(CSRFProtect):
    """Refuses what another site has a browser send.

    Browsers say in Origin which site a form stands on, and no page can change that:
    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Origin
    Where there is none, the form has to carry the token of one of our own pages.
    """

    def protect(self, apply_exemptions=False):
        if request.method not in current_app.config["WTF_CSRF_METHODS"]:
            return  # it changes nothing
        origin = request.headers.get("Origin", "null")
        exempt = not request.endpoint or (apply_exemptions and self._is_exempt())
        if exempt or origin == "null":
            super().protect(apply_exemptions)
        elif is_own(origin):
            g.csrf_valid = True  # the forms need not look at their token
        else:
            raise ForeignSite(f"the form came from {origin!r}")


def is_own(origin):
    """Tell whether an Origin is this site, or a name listed in LAPTOP_HOSTS in full."""
    scheme, _, host = origin.partition("://")
    if current_app.config["TRUSTED_HOSTS"]:
        # A tunnel may name itself in Host or not, and in Origin or not; all names below
        # one are not one.
        tunnels = current_app.config["OWN_HOSTS"]
        own_port = f"localhost:{request.environ['SERVER_PORT']}"
        through_tunnel = request.host in tunnels and host == own_port
        return host == request.host or host in tunnels or through_tunnel
    return (scheme, host) == (request.scheme, request.host)


# An API or a webhook, which no form of ours sends, is marked with @csrf.exempt.
csrf = SameSite()

# What https://developer.mozilla.org/observatory scores.
POLICY = "Content-Security-Policy"
HEADERS = {
    # The browser takes files from this app and nothing else, and runs nothing that
    # stands in a page itself: what a visitor smuggles into one cannot run. Forms are
    # sent only back here. EXTRA_SOURCES in config.py adds to it.
    POLICY: (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "font-src 'self'; media-src 'self'; connect-src 'self'; manifest-src 'self'; "
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
# What EXTRA_SOURCES may add to.
EXTENSIBLE = [
    *("script-src", "style-src", "img-src", "font-src", "media-src", "connect-src"),
    *("frame-src", "form-action"),
]
# For a year browsers come to this host by https only, without asking.
HSTS = "max-age=31536000"


def init_app(app):
    if home := app.config["PLATFORM"]:
        app.wsgi_app = Router(app.wsgi_app, home)
    else:
        # Werkzeug's own number for the debugger can be computed by all users of this
        # computer. The reloader's processes share this one.
        pin = f"{secrets.randbelow(10**9):09}"
        os.environ.setdefault("WERKZEUG_DEBUG_PIN", f"{pin[:3]}-{pin[3:6]}-{pin[6:]}")
    listed = app.config["TRUSTED_HOSTS"] or []
    app.config["OWN_HOSTS"] = [name for name in listed if name not in LOCALHOST]
    app.config.setdefault("WTF_CSRF_SSL_STRICT", False)  # SameSite asks for Origin
    extra = app.config.get("EXTRA_SOURCES", {})
    app.config["HEADERS"] = HEADERS | {POLICY: policy(extra)}
    app.before_request(check_host)
    app.before_request(to_https)
    app.after_request(add_headers)
    csrf.init_app(app)


def policy(extra):
    """Return the Content-Security-Policy with more sources: {"script-src": "https://…"}."""
    parts = (part.partition(" ") for part in HEADERS[POLICY].split("; "))
    sources = {name: value for name, _, value in parts} | {"frame-src": ""}
    for name, more in extra.items() if isinstance(extra, dict) else [(extra, "")]:
        if name not in EXTENSIBLE or not isinstance(more, str):
            raise ConfigError("unknown_source", name=name, names=", ".join(EXTENSIBLE))
        if not re.fullmatch(r"[\w.:/*'+=-]+( [\w.:/*'+=-]+)*", more, re.ASCII):
            raise ConfigError("bad_source", name=name, value=more)
        sources[name] = f"{sources[name]} {more}".strip()
    return "; ".join(f"{name} {value}" for name, value in sources.items() if value)


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
            # Nothing documented, or nothing said: the router's own address stays.
            environ["deploy.address_unknown"] = True
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
    if not current_app.config["PLATFORM"]:
        return None
    if not is_name(request.host):
        abort(400)  # no name, or one that could lead elsewhere
    # The platform itself may ask for /healthz from inside, where there is no https.
    if request.is_secure or request.path == "/healthz":
        return None
    return redirect(request.url.replace("http://", "https://", 1), code=308)


def is_name(host):
    """Tell whether a Host is a name or an address that a browser could come to."""
    name = re.sub(r":\d{1,5}$", "", host)
    labels = name.split(".")
    plain = re.fullmatch(r"[\w.-]+|\[[\da-fA-F:.]+\]", name, re.ASCII)
    return bool(plain) and len(name) < 254 and max(map(len, labels)) < 64


def add_headers(response):
    for name, value in current_app.config["HEADERS"].items():
        response.headers.setdefault(name, value)  # a view's own stays
    if current_app.config["PLATFORM"]:
        response.headers["Strict-Transport-Security"] = HSTS
    return response
