"""What visitors send: how much is read at once and from whom, and what a text field takes.

Nothing about a visitor is kept but the address's network, in memory, until the first
entry that comes a minute later.
"""

import io
import ipaddress
import re
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque

from flask import request
from flask.json.provider import DefaultJSONProvider
from flask_wtf import FlaskForm
from werkzeug.datastructures import CombinedMultiDict, MultiDict
from werkzeug.exceptions import (
    ClientDisconnected,
    LengthRequired,
    ServiceUnavailable,
)
from werkzeug.wsgi import ClosingIterator
from wtforms import FieldList, FileField, FormField

from deploy.environment import WORDS, ConfigError

# A body that does not come to its end holds a thread. So many are read at the same time
# in one process, of its 128 threads, and so many of them from one address: a class may
# sit behind one. Whoever finds no place within the moment is told to come back; so few
# wait for one.
BODIES, BODIES_PER_ADDRESS = 64, 16
MOMENT, WAITING = 0.3, 16  # the first in seconds
# A download that nobody reads keeps 4 MB of memory.
DOWNLOADS, DOWNLOADS_PER_ADDRESS = 24, 8
IN_MEMORY = 1_000_000  # bytes of a body; a longer one waits on the disk
# Bytes that are read at once, or handed to the server: it keeps several a download.
PIECE = 65536
MINUTE = 60  # seconds


def network(address):
    """Return what stands for one visitor's connection: an IPv4 address, a /64 of IPv6."""
    try:
        address = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = getattr(address, "ipv4_mapped", None)
    bits = 64 if address.version == 6 and not mapped else 32
    return str(ipaddress.ip_network((mapped or address, bits), strict=False))


def visitor_of(environ):
    """Return what stands for a visitor in counts: their network, as far as it is known.

    Where the platform documents no header for the address, all would be the router. What
    X-Forwarded-For says can be forged then, which helps nobody but the forger.
    """
    unsure = environ.get("deploy.address_unknown")
    given = environ.get("HTTP_X_FORWARDED_FOR", "")[:200] if unsure else ""
    return given or network(environ.get("REMOTE_ADDR", ""))


class Places:
    """So many at the same time in this process, and so many of them of one visitor."""

    def __init__(self, most, each):
        self.most, self.each = most, each
        self.change = threading.Condition()
        self.taken, self.waiting = Counter(), 0

    def take(self, visitor, moment=0):
        """Take a place, within a moment in seconds; return whether there was one."""

        def free():
            mine = self.taken[visitor] < self.each
            return mine and self.taken.total() < self.most

        with self.change:
            self.waiting += 1
            moment = moment if self.waiting <= WAITING else 0
            found = self.change.wait_for(free, timeout=moment)
            self.waiting -= 1
            self.taken[visitor] += found
            return found

    def give(self, visitor):
        with self.change:
            self.taken[visitor] -= 1
            self.taken += Counter()  # without those who have none
            self.change.notify()


downloads = Places(DOWNLOADS, DOWNLOADS_PER_ADDRESS)


class Bodies:
    """Reads a request's body before the app sees it, and never too many at once."""

    def __init__(self, app):
        self.app, self.wsgi_app = app, app.wsgi_app
        self.places = Places(BODIES, BODIES_PER_ADDRESS)

    def __call__(self, environ, start_response):
        length = environ.get("CONTENT_LENGTH") or "0"
        # Only with a length can half of a body be told from a whole one.
        if length == "0" and environ.get("HTTP_TRANSFER_ENCODING"):
            return self.answer(environ, start_response, LengthRequired())
        most = self.app.config["MAX_CONTENT_LENGTH"]
        is_a_number = re.fullmatch("[0-9]{1,18}", length)
        too_long = is_a_number and most is not None and int(length) > most
        if length == "0" or not is_a_number:
            return self.wsgi_app(environ, start_response)
        visitor = visitor_of(environ)
        if too_long:  # Flask refuses it
            # Who is still sending may not hear that: what is not much is let come.
            if int(length) <= IN_MEMORY and self.places.take(visitor, MOMENT):
                try:
                    read(environ["wsgi.input"], int(length))
                finally:
                    self.places.give(visitor)
            return self.wsgi_app(environ, start_response)
        if not self.places.take(visitor, MOMENT):
            error = ServiceUnavailable(retry_after=5)
            return self.answer(environ, start_response, error)
        try:
            # Not every server ends the stream where the body ends (flask run).
            file, count = read(environ["wsgi.input"], int(length))
        finally:
            self.places.give(visitor)
        error = None if count == int(length) else ClientDisconnected()
        return self.answer(environ, start_response, error, file)

    def answer(self, environ, start_response, unread, file=None):
        """Let the app answer. unread: why there is no body, an exception, or None."""
        file = file or io.BytesIO()
        environ["wsgi.input_terminated"] = True
        if unread:
            environ["deploy.unread"] = unread  # the app says so
            environ["CONTENT_LENGTH"] = "0"
        environ["wsgi.input"] = file
        answer = self.wsgi_app(environ, start_response)
        return ClosingIterator(answer, file.close)


def read(stream, most):
    """Read at most so many bytes; return (a file with them, how many there were)."""
    small = most <= IN_MEMORY
    on_disk = tempfile.SpooledTemporaryFile
    file = io.BytesIO() if small else on_disk(IN_MEMORY)  # the app reads it
    piece = None
    while piece != b"":
        left = most - file.tell()
        piece = stream.read(min(PIECE, left)) if left else b""
        file.write(piece)
    count = file.tell()
    file.seek(0)
    return file, count


class PerMinute:
    """Counts what each visitor does, in the memory of this process."""

    def __init__(self, most, in_all):
        """most: so often in a minute from one address; in_all: from all together."""
        self.most, self.in_all, self.times = most, in_all, defaultdict(deque)
        self.lock = threading.Lock()

    def is_exceeded(self):
        """Count the present request; tell whether its visitor has used up the minute."""
        now = time.monotonic()
        with self.lock:
            for visitor in list(self.times):
                times = self.times[visitor]
                while times and times[0] < now - MINUTE:
                    times.popleft()
                if not times:
                    del self.times[visitor]
            if sum(map(len, self.times.values())) >= self.in_all:
                return True
            mine = self.times[visitor_of(request.environ)]
            if len(mine) >= self.most:
                return True
            mine.append(now)
            return False


class JSON(DefaultJSONProvider):
    """Flask's own, which meets what is nested too deeply with a 400."""

    def loads(self, s, **options):
        try:
            return super().loads(s, **options)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def texts_for_text_fields(meta, form, formdata):
    """Give a form what was sent for it: no file for a text, and JSON as a form has it."""
    if request.is_json:
        sent = request.get_json(silent=True)
        data = MultiDict()
        for name, values in sent.items() if isinstance(sent, dict) else ():
            for value in values if isinstance(values, list) else [values]:
                # A box that is not ticked is not there.
                if isinstance(value, (str, int, float)) and value is not False:
                    data.add(name, str(value))
        return data
    data = AS_SENT(meta, form, formdata)
    if isinstance(data, CombinedMultiDict):
        names = {field.name for field in form if isinstance(field, FileField)}
        # Lists and forms within the form: files-0, author-photo.
        inner = [f"{f.name}-" for f in form if isinstance(f, (FieldList, FormField))]
        files = [
            (name, file)
            for name, file in request.files.items(multi=True)
            if name in names or name.startswith(tuple(inner))
        ]
        data = CombinedMultiDict((MultiDict(files), request.form))
    return data


AS_SENT = FlaskForm.Meta.wrap_formdata


def init_app(app):
    app.wsgi_app = Bodies(app)
    app.json = JSON(app)
    limit = app.config["MAX_CONTENT_LENGTH"]
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ConfigError("content_length_no_number", value=limit)
    app.config["MAX_FORM_MEMORY_SIZE"] = limit  # one limit, which the 413 names
    app.before_request(refuse_unread)
    # For every form: a visitor may send what no browser would.
    FlaskForm.Meta.wrap_formdata = texts_for_text_fields
    # WTForms has its own words in this language: "This field is required."
    FlaskForm.Meta.locales = [WORDS["form_language"]]
    app.config.setdefault("WTF_I18N_ENABLED", False)  # True asks Flask-Babel


def refuse_unread():
    """Refuse a request whose body was not read to its end, and say why."""
    if "deploy.unread" in request.environ:
        raise request.environ["deploy.unread"]
