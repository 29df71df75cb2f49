"""What visitors send: how much is read at once and from whom, and what a text field takes.

Nothing about a visitor is kept but the address's network, in memory, for a minute.
"""

import io
import ipaddress
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from contextlib import contextmanager

from flask import request
from flask_wtf import FlaskForm
from werkzeug.datastructures import CombinedMultiDict, MultiDict
from werkzeug.exceptions import ClientDisconnected, ServiceUnavailable
from werkzeug.wsgi import ClosingIterator
from wtforms import FileField

# A body that does not come to its end holds a thread. So many are read at the same time
# in one process, of its 128 threads, and so many of them from one address: a class may
# sit behind one. Whoever finds no place within the moment is told to come back.
BODIES, BODIES_PER_ADDRESS, MOMENT = 64, 16, 0.3  # the last in seconds
IN_MEMORY = 1_000_000  # bytes of a body; a longer one waits on the disk
PIECE = 65536  # bytes
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


class Bodies:
    """Reads a request's body before the app sees it, and never too many at once."""

    def __init__(self, app):
        self.app, self.wsgi_app = app, app.wsgi_app
        self.change = threading.Condition()
        self.reading = Counter()

    def __call__(self, environ, start_response):
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        length = environ.get("CONTENT_LENGTH") or "0"
        most = self.app.config["MAX_CONTENT_LENGTH"]
        is_a_number = length.isascii() and length.isdecimal()
        none = not chunked and (length == "0" or not is_a_number)
        too_long = is_a_number and most is not None and int(length) > most
        if none or too_long:  # Flask itself refuses the second
            return self.wsgi_app(environ, start_response)
        length = None if chunked else int(length)
        most = None if most is None else most + 1  # one more is too many
        file, unread = io.BytesIO(), ServiceUnavailable(retry_after=5)
        with self.place(network(environ.get("REMOTE_ADDR", ""))) as taken:
            if taken:
                # Not every server ends the stream where the body ends (flask run).
                file = read(environ["wsgi.input"], most if length is None else length)
                whole = length is None or length == size(file)
                unread = None if whole else ClientDisconnected()
        environ["wsgi.input_terminated"] = True
        if unread:
            environ["deploy.unread"] = unread  # the app says so
            environ["CONTENT_LENGTH"] = "0"
        environ["wsgi.input"] = file
        answer = self.wsgi_app(environ, start_response)
        return ClosingIterator(answer, file.close)

    @contextmanager
    def place(self, visitor):
        """Hold one of the places for reading; yield whether there was one."""

        def free():
            mine = self.reading[visitor] < BODIES_PER_ADDRESS
            return mine and self.reading.total() < BODIES

        with self.change:
            taken = self.change.wait_for(free, timeout=MOMENT)
            self.reading[visitor] += taken
        try:
            yield taken
        finally:
            with self.change:
                self.reading[visitor] -= taken
                self.reading += Counter()  # without those who read nothing
                self.change.notify()


def read(stream, most):
    """Return a file with what a stream holds, `most` bytes of it (None: all)."""
    small = most is not None and most <= IN_MEMORY
    on_disk = tempfile.SpooledTemporaryFile
    file = io.BytesIO() if small else on_disk(IN_MEMORY)  # the app reads it
    piece = None
    while piece != b"":
        left = PIECE if most is None else most - file.tell()
        piece = stream.read(min(PIECE, left)) if left else b""
        file.write(piece)
    file.seek(0)
    return file


def size(file):
    """Return a file's size in bytes; it is at its beginning before and after."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    return end


class PerMinute:
    """Counts what each visitor does, in the memory of this process."""

    def __init__(self, most):
        """most: so often in a minute and from one address."""
        self.most, self.times = most, defaultdict(deque)
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
            mine = self.times[network(request.remote_addr or "")]
            if len(mine) >= self.most:
                return True
            mine.append(now)
            return False


def texts_for_text_fields(meta, form, formdata):
    """Give a form what was sent for it: no file for a text, of JSON only its texts."""
    if request.is_json:
        sent = request.get_json(silent=True)
        items = sent.items() if isinstance(sent, dict) else ()
        return MultiDict({k: v for k, v in items if isinstance(v, str)})
    data = AS_SENT(meta, form, formdata)
    if isinstance(data, CombinedMultiDict):
        fields = {field.name for field in form if isinstance(field, FileField)}
        files = [(k, v) for k, v in request.files.items(multi=True) if k in fields]
        data = CombinedMultiDict((MultiDict(files), request.form))
    return data


AS_SENT = FlaskForm.Meta.wrap_formdata


def init_app(app):
    app.wsgi_app = Bodies(app)
    app.before_request(refuse_unread)
    # For every form: a visitor may send what no browser would.
    FlaskForm.Meta.wrap_formdata = texts_for_text_fields


def refuse_unread():
    """Refuse a request whose body was not read to its end, and say why."""
    if "deploy.unread" in request.environ:
        raise request.environ["deploy.unread"]
