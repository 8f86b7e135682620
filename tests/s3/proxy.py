"""An HTTP proxy in front of an S3 server that counts requests, delays them, or does to creates what
careless gateways do.

    Proxy(endpoint, mode="plain" | "drop" | "head-then-put", delay=SECONDS)

plain: requests go through as they are. drop: the condition of a create is lost. head-then-put: it
is turned into a look and a PUT without condition. The last two sign again, since what was signed
has changed. .log is the list of (method, path, query, status, seconds upstream, when they began).
"""

import http.client
import http.server
import threading
import time
import urllib.parse

import sign

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.upstream = None

    def finish(self):
        super().finish()
        if self.upstream:
            self.upstream.close()

    def log_message(self, *_):
        pass

    def ask(self, method, url, headers, body):
        for attempt in (1, 2):
            fresh = self.upstream is None
            if fresh:
                self.upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
            try:
                self.upstream.putrequest(method, url, skip_host=True, skip_accept_encoding=True)
                for name, value in headers:
                    self.upstream.putheader(name, value)
                self.upstream.endheaders(body)
                resp = self.upstream.getresponse()
                return resp, resp.read()
            except (OSError, http.client.HTTPException):
                self.upstream.close()
                self.upstream = None
                if fresh or attempt == 2:
                    raise
        return None

    def signed(self, method, url, body):
        """The headers of a request of the proxy's own."""
        parts = urllib.parse.urlsplit(url)
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        made = sign.headers(method, self.server.upstream, parts.path, query, body)
        return list(made.items()) + [("Content-Length", str(len(body)))]

    def take_request(self):
        """(headers to pass on, body or None) of a request that has arrived whole."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(length)
        if self.server.proxy.delay:
            time.sleep(self.server.proxy.delay)
        self.begun = time.monotonic()
        return [(k, v) for k, v in self.headers.items() if k.lower() not in HOP], body if length else None

    def answer(self):
        proxy = self.server.proxy
        headers, body = self.take_request()
        conditional = self.command == "PUT" and "if-none-match" in self.headers
        try:
            if conditional and proxy.mode == "head-then-put":
                resp, data = self.ask("HEAD", self.path, self.signed("HEAD", self.path, b""), None)
                if resp.status == 200:
                    self.reply(412, [], b"", proxy)
                    return
            if conditional and proxy.mode != "plain":
                headers = self.signed("PUT", self.path, body or b"")
            resp, data = self.ask(self.command, self.path, headers, body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        self.reply(resp.status, resp.getheaders(), data, proxy)

    def reply(self, status, headers, data, proxy):
        parts = urllib.parse.urlsplit(self.path)
        with proxy.lock:
            proxy.log.append((self.command, urllib.parse.unquote(parts.path), parts.query, status,
                              time.monotonic() - self.begun, self.begun))
        lines = [f"HTTP/1.1 {status} x"]
        told = False
        for name, value in headers:
            if name.lower() in HOP:
                continue
            told = told or name.lower() == "content-length"
            lines.append(f"{name}: {value}")
        if not told and status not in (204, 304):
            lines.append(f"Content-Length: {len(data)}")
        self.wfile.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer


def counts(log):
    """(all, writes and lists) of the requests in a log."""
    dear = [one for one in log if one[0] in ("PUT", "POST", "DELETE") or
            one[0] == "GET" and ("list-type" in one[2] or one[2].startswith("uploads"))]
    return len(log), len(dear)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Proxy:
    def __init__(self, endpoint, mode="plain", delay=0):
        self.mode = mode
        self.delay = delay
        self.lock = threading.Lock()
        self.log = []
        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.proxy = self
        self.http.upstream = urllib.parse.urlsplit(endpoint).netloc
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def take(self):
        """The requests since the last call."""
        with self.lock:
            taken, self.log = self.log, []
        return taken

    def counted(self, fn, *args):
        """(what fn returns, counts of its requests)"""
        self.take()
        result = fn(*args)
        return result, counts(self.take())

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
