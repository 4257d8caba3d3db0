"""Definitions by hand: just enough of protobuf and of LLB for what Dockerfiles can't say."""

import hashlib


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def num(field, n):
    return varint(field << 3) + varint(n) if n else b""


def data(field, b):
    if isinstance(b, str):
        b = b.encode()
    return varint(field << 3 | 2) + varint(len(b)) + b


class Graph:
    """Ops in order; each call returns (digest, output) for later ones."""

    def __init__(self):
        self.ops = []

    def add(self, inputs, kind, body, filters=()):
        op = b"".join(data(1, data(1, d) + num(2, o)) for d, o in inputs)
        op += data(kind, body)
        op += data(10, data(1, "amd64") + data(2, "linux"))
        if filters:
            op += data(11, b"".join(data(1, f) for f in filters))
        self.ops.append(op)
        return "sha256:" + hashlib.sha256(op).hexdigest(), 0

    def local(self, name, filters=()):
        return self.add([], 3, data(1, f"local://{name}"), filters)

    def mkfile(self, path, content, on=None, filters=()):
        make = data(1, path) + num(2, 0o644) + data(3, content) + num(5, -1)
        action = num(1, 0 if on else -1) + num(2, -1) + num(3, 0) + data(5, make)
        return self.add([on] if on else [], 4, data(2, action), filters)

    def copy_all(self, src, filters=()):
        """The contents of src on an empty tree: known by what is in it."""
        copy = data(1, "/") + data(2, "/") + num(4, -1) + num(6, 1) + num(8, 1) + num(11, -1)
        action = num(1, -1) + num(2, 0) + num(3, 0) + data(4, copy)
        return self.add([src], 4, data(2, action), filters)

    def run(self, root, args, filters=(), mounts=()):
        """mounts: (input, dest). The result is the root."""
        meta = b"".join(data(1, a) for a in args) + data(2, "PATH=/bin") + data(3, "/")
        body = data(1, meta) + data(2, num(1, 0) + data(3, "/") + num(4, 0))
        for i, (_, dest) in enumerate(mounts):
            body += data(2, num(1, i + 1) + data(3, dest) + num(4, -1) + num(5, 1))
        return self.add([root] + [m for m, _ in mounts], 2, body, filters)

    def merge(self, inputs, filters=()):
        body = b"".join(data(1, num(1, i)) for i in range(len(inputs)))
        return self.add(inputs, 6, body, filters)

    def definition(self, last):
        ops = self.ops + [data(1, data(1, last[0]) + num(2, last[1]))]
        return b"".join(data(1, op) for op in ops)
