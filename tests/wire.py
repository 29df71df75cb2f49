"""The way to a database: a proxy that counts the trips on it, makes it longer, or lets it go dead without a word."""

import ctypes
import socket
import struct
import threading
import time
from contextlib import suppress

# Linux: a filter for what a socket receives, https://docs.kernel.org/networking/filter.html, and its only
# instruction: BPF_RET with 0 bytes to be kept. TCP itself does not see what it drops, so nobody gets an answer.
SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


class Wire:
    """Hands on what goes between clients and the server at an address, (host, port).

    delay: seconds that a trip there and back takes longer. trips: how many there were: a client has spoken, and the
    server had the last word before that.
    """

    def __init__(self, address, delay=0):
        self.address, self.delay = address, delay
        self.trips, self.pairs = 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):  # closed: nobody comes any more
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.address)
                for connection in (client, server):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.pairs.append((client, server))
                turn = ["server"]
                for name, ends in (("client", (client, server)), ("server", (server, client))):
                    threading.Thread(target=self.hand_on, args=(name, *ends, turn), daemon=True).start()

    def hand_on(self, name, source, target, turn):
        with suppress(OSError):
            while data := source.recv(65536):
                if name == "client" and turn[0] == "server":
                    self.trips += 1
                turn[0] = name
                if self.delay:
                    time.sleep(self.delay / 2)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop(self):
        """Lose everything from now on that is sent over the present connections; new ones are as before."""
        code = ctypes.create_string_buffer(DROP_ALL)
        program = struct.pack("HL", 1, ctypes.addressof(code))
        for pair in self.pairs:
            for end in pair:
                with suppress(OSError):  # it has been closed
                    end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        self.pairs.clear()

    def close(self):
        self.listener.close()
        for pair in self.pairs:
            for end in pair:
                end.close()
