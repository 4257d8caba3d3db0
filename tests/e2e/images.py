"""Images made by hand, for a registry: also ones that no builder would make."""

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_layer(entries):
    """entries: (name, kind, extra): kind f file data, d dir, l symlink target, h hard link target,
    c char device (major, minor)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, kind, extra in entries:
            i = tarfile.TarInfo(name)
            i.mode = 0o755
            data = None
            if kind == "f":
                data = extra.encode() if isinstance(extra, str) else extra
                i.size = len(data)
            elif kind == "d":
                i.type = tarfile.DIRTYPE
            elif kind == "l":
                i.type, i.linkname = tarfile.SYMTYPE, extra
            elif kind == "h":
                i.type, i.linkname = tarfile.LNKTYPE, extra
            elif kind == "c":
                i.type = tarfile.CHRTYPE
                i.devmajor, i.devminor = extra
            t.addfile(i, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def image(layers, gz=True, diff_ids=None, config=None):
    """Manifest and blobs of an image of these tar layers."""
    packed = [gzip.compress(x, mtime=0) if gz else x for x in layers]
    cfg = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
           "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(x) for x in layers]}}
    cfg.update(config or {})
    cfg = json.dumps(cfg).encode()
    media = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if gz else "")
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": digest(cfg), "size": len(cfg)},
        "layers": [{"mediaType": media, "digest": digest(x), "size": len(x)} for x in packed],
    }).encode()
    return manifest, {digest(x): x for x in [cfg, *packed]}


def push(host, name, tag, manifest, blobs):
    base = f"http://{host}/v2/{name}"
    for d, data in blobs.items():
        r = urllib.request.urlopen(urllib.request.Request(base + "/blobs/uploads/", method="POST"))
        url = r.headers["Location"]
        url += ("&" if "?" in url else "?") + "digest=" + d
        urllib.request.urlopen(urllib.request.Request(
            url, data=data, method="PUT", headers={"Content-Type": "application/octet-stream"}))
    urllib.request.urlopen(urllib.request.Request(
        base + "/manifests/" + tag, data=manifest, method="PUT",
        headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"}))
