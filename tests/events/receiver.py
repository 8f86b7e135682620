"""A webhook target: takes posts, checks signatures, remembers; can refuse, hang, or be away."""

import hashlib
import hmac
import http.server
import json
import threading
import time

from follow import key_of


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A sender that was killed is no news."""


class Receiver:
    def __init__(self, secret=None, port=0):
        self.secret, self.port = secret, port
        self.events, self.keys, self.times, self.bad = [], [], [], []
        self.tries = 0
        self.status = 200  # what is answered
        self.hang = 0
        self.server = None
        self.open()

    def open(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.headers, body)
                if receiver.hang:
                    time.sleep(receiver.hang)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, headers, body):
        self.tries += 1
        if self.secret:
            right = "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
            if headers["X-Stowage-Signature"] != right:
                self.bad.append(headers["X-Stowage-Signature"])
        if not headers["Content-Type"].startswith("application/cloudevents+json"):
            self.bad.append(headers["Content-Type"])
        if self.status != 200:
            return
        event = json.loads(body)
        self.events.append(event)
        self.keys.append(key_of(event))
        self.times.append(time.time())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def wait(self, wanted, seconds):
        """Those of the wanted keys that did not come."""
        end = time.monotonic() + seconds
        while not set(wanted) <= set(self.keys) and time.monotonic() < end:
            time.sleep(0.05)
        return sorted(set(wanted) - set(self.keys))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
