"""A relay in front of the registry that passes every byte on and notes the heads of requests."""

import re
import socket
import threading

REQUEST = re.compile(rb"(?:GET|HEAD|POST|PATCH|PUT|DELETE) /v2/[^ ]* HTTP/1\.1\r\n.*?\r\n\r\n", re.S)
HELD_MAX = 64 << 10


class Spy:
    def __init__(self, upstream):
        host, _, port = upstream.rpartition(":")
        self.upstream = (host, int(port))
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.upstream)
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, False), daemon=True).start()

    def _relay(self, source, sink, requests):
        held = b""
        try:
            while data := source.recv(64 << 10):
                sink.sendall(data)
                if not requests:
                    continue
                held = (held + data)[-HELD_MAX:]
                for found in REQUEST.finditer(held):
                    self.heads.append(found.group(0).decode("latin-1"))
                    held = held[found.end() :] if found.end() <= len(held) else b""
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def ranges(self):
        """Values of every Range header seen."""
        found = [re.search(r"(?im)^range: *bytes=([^\r]*)", head) for head in self.heads]
        return [one.group(1) for one in found if one]

    def close(self):
        self.listener.close()
