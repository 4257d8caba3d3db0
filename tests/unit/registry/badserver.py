"""A registry that misbehaves on request: the repository's name says how.

Prints "PORT OTHER" once it listens: a second port is the same server, for redirects to another
host. /_log gives the requests so far, a JSON object a line, and forgets them.
"""

import base64
import hashlib
import http.server
import json
import sys
import threading
import time
import urllib.parse

BLOB = bytes((i * 7 + i // 251) & 0xFF for i in range(300_000))
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


MANIFEST = json.dumps({
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
               "digest": digest(CONFIG), "size": len(CONFIG)},
    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest(BLOB), "size": len(BLOB)}],
}).encode()
BLOBS = {digest(BLOB): BLOB, digest(CONFIG): CONFIG}
TYPE = "application/vnd.oci.image.manifest.v1+json"

lock = threading.Lock()
log = []
counts = {}
uploads = {}
stored = {}


def count(key):
    with lock:
        counts[key] = counts.get(key, 0) + 1
        return counts[key]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    other = 0

    def log_message(self, *args):
        pass

    # -- answers --

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status, code="DENIED", message="no", headers=()):
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]})
        self.answer(status, body.encode(), [("Content-Type", "application/json"), *headers])

    def manifest(self, body=MANIFEST, digest_header=True, headers=()):
        headers = [("Content-Type", TYPE), *headers]
        if digest_header:
            headers.append(("Docker-Content-Digest", digest(body)))
        self.answer(200, body, headers)

    def drop(self):
        self.close_connection = True
        self.connection.close()

    # -- requests --

    def handle_any(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (self.headers.get("Transfer-Encoding") or "") == "chunked":
            self.body = b""
            while n := int(self.rfile.readline(), 16):
                self.body += self.rfile.read(n)
                self.rfile.readline()
            self.rfile.readline()
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/_log":
            with lock:
                text = "".join(json.dumps(x) + "\n" for x in log)
                log.clear()
            return self.answer(200, text.encode())
        with lock:
            log.append({"method": self.command, "path": self.path,
                        "auth": self.headers.get("Authorization", ""),
                        "agent": self.headers.get("User-Agent", ""),
                        "range": self.headers.get("Range", ""),
                        "port": self.server.server_address[1], "body": self.body[:300].decode("latin1")})
        parts = url.path.split("/")
        if parts[1] == "token":
            return self.token(url)
        if parts[1] == "plain":
            return self.plain(parts[2])
        if parts[1] != "v2" or len(parts) < 5:
            return self.answer(200 if url.path == "/v2/" else 404)
        # A blobs/uploads path ends the name earlier.
        kind = "blobs" if "blobs" in parts else "manifests"
        at = parts.index(kind)
        name, rest = "/".join(parts[2:at]), parts[at + 1:]
        self.repo(name, kind, rest, urllib.parse.parse_qs(url.query))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def token(self, url):
        mode = url.path.split("/")[2]
        q = urllib.parse.parse_qs(url.query) or urllib.parse.parse_qs(self.body.decode())
        if mode == "deny":
            return self.fail(403, "DENIED", "access denied")
        if mode == "unauthorized":
            return self.fail(401, "UNAUTHORIZED", "incorrect username or password")
        if mode == "broken":
            return self.answer(200, b"{nonsense")
        if mode == "empty":
            return self.answer(200, b"{}")
        if mode == "noget" and self.command == "GET":
            return self.answer(405)
        if mode == "nopost" and self.command == "POST":
            return self.answer(405)
        t = "tok:" + ",".join(q.get("scope", []))
        if mode == "short":
            t += "#%d" % count("short")
        reply = {"access_token" if self.command == "POST" else "token": t}
        if mode != "noexpiry":
            reply["expires_in"] = 300
        self.answer(200, json.dumps(reply).encode(), [("Content-Type", "application/json")])

    def plain(self, what):
        """For the generic client."""
        if what == "echo":
            return self.answer(200, self.body, [("X-Method", self.command)])
        if what == "loop":
            return self.answer(302, b"", [("Location", "/plain/loop")])
        if what == "relative":
            return self.answer(302, b"", [("Location", "../plain/echo")])
        if what == "away":
            return self.answer(307, b"", [("Location", "http://127.0.0.1:%d/plain/echo" % self.other)])
        if what == "file":
            return self.answer(302, b"", [("Location", "file:///etc/passwd")])
        if what == "see":
            return self.answer(303, b"", [("Location", "/plain/echo")])
        if what == "chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(100):
                self.wfile.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return None
        if what == "hang":
            time.sleep(20)
            return self.drop()
        if what == "headers":
            return self.answer(200, b"", [("X-%d" % i, "v" * 60000) for i in range(40)])
        if what == "drop":
            return self.drop()
        return self.answer(404)

    def challenge(self, mode, **kw):
        host = "127.0.0.1:%d" % self.server.server_address[1]
        c = 'Bearer realm="http://%s/token/%s",service="bad"' % (host, mode)
        for k, v in kw.items():
            c += ',%s="%s"' % (k, v)
        self.fail(401, "UNAUTHORIZED", "authentication required", [("WWW-Authenticate", c)])

    def repo(self, name, kind, rest, query):
        how, _, arg = name.split("/")[0].partition("-")
        auth = self.headers.get("Authorization", "")
        if how == "basic":
            want = "Basic " + base64.b64encode(b"joe:secret").decode()
            if auth != want and self.server.server_address[1] != self.other:
                return self.fail(401, "UNAUTHORIZED", "authentication required",
                                 [("WWW-Authenticate", 'Basic realm="x"')])
        if how == "bearer" and not auth.startswith("Bearer tok:"):
            return self.challenge(arg or "ok", scope="repository:%s:pull" % name)
        if how == "insufficient":
            kw = {"error": "insufficient_scope"} if auth else {}
            return self.challenge("ok", scope="repository:%s:pull" % name, **kw)
        if how == "always401":
            return self.challenge("ok", scope="repository:%s:pull" % name)
        if how == "short" and auth.partition("#")[2] != str(counts.get("short", 0)):
            return self.challenge("short", scope="repository:%s:pull" % name)
        if how == "status":
            return self.fail(int(arg))
        if how == "flaky" and count(self.command + self.path) <= 2:
            return self.fail(int(arg or 503), headers=[("Retry-After", "0")])
        if how == "dropped":
            return self.drop()
        if how == "hang":
            time.sleep(20)
            return self.drop()
        if kind == "manifests":
            return self.do_manifest(name, how, arg, rest)
        return self.do_blob(name, how, arg, rest, query)

    def do_manifest(self, name, how, arg, rest):
        if self.command == "PUT":
            if how == "put":
                return self.fail(int(arg), "MANIFEST_INVALID", "manifest invalid")
            stored[name, rest[0]] = stored[name, digest(self.body)] = self.body
            return self.answer(201, b"", [("Docker-Content-Digest", digest(self.body))])
        if how == "store":
            m = stored.get((name, rest[0]))
            return self.manifest(m) if m else self.fail(404, "MANIFEST_UNKNOWN", "unknown")
        if how == "missing" or (how in ("mount", "nomount", "put", "post", "cutput") and
                                (name, rest[0]) not in stored):
            return self.fail(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if how == "nodigest":
            return self.manifest(digest_header=False)
        if how == "nohead" and self.command == "HEAD":
            return self.fail(405)
        if how == "get" and self.command == "GET":
            return self.fail(int(arg))
        if how == "wrongmanifest":
            return self.answer(200, MANIFEST + b" ", [("Content-Type", TYPE),
                               ("Docker-Content-Digest", digest(MANIFEST))])
        if how == "baddigest":
            return self.answer(200, MANIFEST, [("Content-Type", TYPE),
                               ("Docker-Content-Digest", "sha256:zz")])
        if how == "huge":
            headers = [("Content-Type", TYPE)]
            if self.command == "HEAD":
                return self.answer(200, b"", headers, 1 << 40)
            try:
                return self.answer(200, b" " * (10 << 20), headers)
            except OSError:
                return self.drop()
        if how == "schema1":
            return self.answer(200, b'{"schemaVersion":1}', [
                ("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
                ("Docker-Content-Digest", digest(b'{"schemaVersion":1}'))])
        return self.manifest()

    def do_blob(self, name, how, arg, rest, query):
        if rest[0] == "uploads":
            return self.upload(name, how, arg, rest, query)
        data = BLOBS.get(rest[0]) or stored.get((name, rest[0]))
        if how in ("mount", "nomount", "store", "put", "post", "cutput", "missing"):
            data = stored.get((name, rest[0]))
        if data is None:
            return self.fail(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if self.command == "HEAD":
            return self.answer(200, data)
        start = 0
        r = self.headers.get("Range", "")
        if r.startswith("bytes=") and how != "norange":
            start = int(r[6:].split("-")[0])
            if start >= len(data):
                return self.fail(416)
        headers = [("Content-Type", "application/octet-stream")]
        if start:
            headers.append(("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data))))
        part = data[start:]
        if how == "blob":
            return self.fail(int(arg))
        if how == "wrong":
            return self.answer(200, b"X" + part[1:], headers)
        if how == "long":
            return self.answer(200, part + b"more", headers)
        if how == "shortblob":
            return self.answer(200, part[:100], headers)
        if how == "badrange" and start:
            return self.answer(206, data, [("Content-Range", "bytes 0-%d/%d" % (
                len(data) - 1, len(data)))])
        if how in ("cut", "norange", "badrange") and len(part) > 1000 and (
                how == "cut" or count(self.path) == 1):
            self.send_response(206 if start else 200)
            for k, v in headers:
                self.send_header(k, v)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part[:max(100_000, 1)])
            self.wfile.flush()
            return self.drop()
        if how == "slow":
            self.send_response(200)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part[:1000])
            time.sleep(20)
            return self.drop()
        if how == "trap" and self.server.server_address[1] == self.other:
            return self.fail(401, headers=[("WWW-Authenticate", 'Basic realm="trap"')])
        if (how in ("redirect", "trap") or name == "basic-away") and (
                self.server.server_address[1] != self.other):
            return self.answer(307, b"", [("Location", "http://127.0.0.1:%d%s" % (
                self.other, self.path))])
        self.answer(206 if start else 200, part, headers)

    def upload(self, name, how, arg, rest, query):
        if self.command == "POST":
            if how == "nomount" and "mount" in query:
                return self.fail(500)
            if how == "post":
                return self.fail(int(arg), "DENIED", "requested access to the resource is denied")
            if "mount" in query and how == "mount":
                d = query["mount"][0]
                stored[name, d] = BLOBS.get(d, b"?")
                return self.answer(201, b"", [("Location", "/v2/%s/blobs/%s" % (name, d))])
            n = count("upload")
            return self.answer(202, b"", [("Location", "/v2/%s/blobs/uploads/%d?s=a%%20b" % (name, n)),
                                          ("Range", "0-0")])
        d = query["digest"][0]
        if how == "cutput" and count(self.path.split("uploads")[0] + d) == 1:
            return self.drop()
        if digest(self.body) != d:
            return self.fail(400, "DIGEST_INVALID", "provided digest did not match")
        stored[name, d] = self.body
        return self.answer(201, b"", [("Location", "/v2/%s/blobs/%s" % (name, d)),
                                      ("Docker-Content-Digest", d)])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


def main():
    servers = [Server(("127.0.0.1", 0), Handler) for _ in range(2)]
    Handler.other = servers[1].server_address[1]
    for s in servers:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    print(servers[0].server_address[1], servers[1].server_address[1], flush=True)
    sys.stdin.read()  # ends with the test


if __name__ == "__main__":
    main()
