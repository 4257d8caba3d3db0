"""LLB definitions, written by hand: a graph of vertices as `buildctl build` reads it from stdin. Only what the long tests need."""

import hashlib

EXEC, SOURCE, FILE, MERGE, DIFF = 2, 3, 4, 6, 7


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def num(field, n):
    return varint(field << 3) + varint(n) if n else b""


def raw(field, data):
    if isinstance(data, str):
        data = data.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


class Op:
    """A vertex; its output 0."""

    def __init__(self, field, body, inputs=()):
        self.inputs = list(inputs)
        data = b"".join(raw(1, raw(1, i.digest)) for i in self.inputs)
        data += raw(field, body)
        data += raw(10, raw(1, "amd64") + raw(2, "linux")) + raw(11, b"")
        self.data = data
        self.digest = "sha256:" + hashlib.sha256(data).hexdigest()


def local(name):
    return Op(SOURCE, raw(1, "local://" + name))


def file_op(base, actions):
    """actions: functions of (input, add), add(op) giving the index of another input."""
    inputs = [base] if base else []

    def add(op):
        if op not in inputs:
            inputs.append(op)
        return inputs.index(op)

    made = [a(add) for a in actions]
    body = b""
    for i, (field, action, second) in enumerate(made):
        at = (0 if base else -1) if i == 0 else len(inputs) + i - 1
        out = 0 if i == len(made) - 1 else -1
        body += raw(2, num(1, at) + num(2, second) + num(3, out) + raw(field, action))
    return Op(FILE, body, inputs)


def mkfile(path, data, mode=0o644):
    return lambda add: (5, raw(1, path) + num(2, mode) + raw(3, data) + num(5, -1), -1)


def mkdir(path, mode=0o755):
    return lambda add: (6, raw(1, path) + num(2, mode) + num(3, 1) + num(5, -1), -1)


def rm(path):
    return lambda add: (7, raw(1, path) + num(2, 1) + num(3, 1), -1)


def symlink(old, new):
    return lambda add: (8, raw(1, old) + raw(2, new) + num(4, -1), -1)


def copy(op, src, dest, unpack=False):
    def action(add):
        body = raw(1, src) + raw(2, dest) + num(4, -1) + num(6, 1) + num(7, int(unpack)) + \
            num(8, 1) + num(9, 1) + num(10, 1) + num(11, -1)
        return 4, body, add(op)
    return action


def exec_op(base, args):
    meta = b"".join(raw(1, a) for a in args) + raw(2, "PATH=/bin") + raw(3, "/")
    return Op(EXEC, raw(1, meta) + raw(2, raw(3, "/")), [base])


def merge(ops):
    distinct = list(dict.fromkeys(ops))
    body = b"".join(raw(1, num(1, distinct.index(o))) for o in ops)
    return Op(MERGE, body, distinct)


def diff(lower, upper):
    inputs = [x for x in dict.fromkeys([lower, upper]) if x]

    def side(x):
        return num(1, inputs.index(x) if x else -1)
    return Op(DIFF, raw(1, side(lower)) + raw(2, side(upper)), inputs)


def marshal(op):
    """The definition whose result is that of op."""
    order, seen = [], set()

    def visit(o):
        stack = [(o, False)]
        while stack:
            x, done = stack.pop()
            if done:
                order.append(x)
            elif id(x) not in seen and x.digest not in seen:
                seen.update((id(x), x.digest))
                stack.append((x, True))
                stack += [(i, False) for i in x.inputs]
    visit(op)
    last = raw(1, raw(1, op.digest))
    return b"".join(raw(1, x.data) for x in order) + raw(1, last)
