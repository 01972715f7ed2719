"""All of OpenStack Swift in one process, with its S3 API, over http and https.

    python swift_process.py FOLDER PORT TLS_PORT [--until-eof]

Run by `swift.py`, in an interpreter that has the package `swift`. Swift's own code and its own loader throughout; only
that its servers are usually processes of their own. Port 0 is any that is free. Once all answer it writes one line of
JSON to stdout. With `--until-eof` it ends with its stdin, so that no kill of its starter leaves it behind.
"""

from __future__ import annotations

import os
import sys
import warnings

warnings.simplefilter("ignore")  # eventlet's own deprecation
import eventlet  # noqa: E402

eventlet.monkey_patch()

import json  # noqa: E402
import logging  # noqa: E402
import ssl  # noqa: E402
from pathlib import Path  # noqa: E402

from eventlet import wsgi  # noqa: E402

NAMES = ("account", "container", "object")
_USER, _PASSWORD = "test:tester", "testing"
_COMMON = """
[swift-hash]
swift_hash_path_prefix = recvault
swift_hash_path_suffix = tests
[storage-policy:0]
name = one
default = yes
"""
_BACK = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_address = /nonexistent
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
recon_cache_path = {folder}
"""
_ORDER = [
    "catch_errors",
    "gatekeeper",
    "listing_formats",
    "bulk",
    "s3api",
    "tempauth",
    "copy",
    "slo",
    "dlo",
    "versioned_writes",
    "symlink",
]
_CONFIGURED = {"s3api", "tempauth", "versioned_writes"}
_FRONT = """
[DEFAULT]
swift_dir = {folder}
log_address = /nonexistent
[pipeline:main]
pipeline = {front} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {password} .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
check_bucket_owner = false
max_upload_part_num = 10000
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
"""


def main() -> None:
    folder, port, tls_port = Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    back = {name: eventlet.listen(("127.0.0.1", 0)) for name in NAMES}
    _configure(folder, {name: sock.getsockname()[1] for name, sock in back.items()})
    for name, sock in back.items():
        eventlet.spawn(_serve, sock, _app(folder, name))
    front = _app(folder, "proxy")
    plain, secure = eventlet.listen(("127.0.0.1", port)), eventlet.listen(("127.0.0.1", tls_port))
    ports = {"port": plain.getsockname()[1], "tls_port": secure.getsockname()[1]}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    eventlet.spawn(_serve, plain, front)
    eventlet.spawn(_serve, context.wrap_socket(secure, server_side=True), front)
    print(json.dumps({**ports, "access_key": _USER, "secret_key": _PASSWORD, "pid": os.getpid()}), flush=True)
    if "--until-eof" in sys.argv:
        eventlet.tpool.execute(sys.stdin.read)
        os._exit(0)
    while True:
        eventlet.sleep(3600)


def _configure(folder: Path, ports: dict[str, int]) -> None:
    """Write Swift's configuration, with new rings, as its backend ports change at every start."""
    from swift.common import utils
    from swift.common.ring import RingBuilder

    (folder / "swift.conf").write_text(_COMMON)
    utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    for name, port in ports.items():
        ring = RingBuilder(4, 1, 1)
        ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{name}.ring.gz"))
        (folder / f"{name}-server.conf").write_text(_BACK.format(folder=folder, name=name))
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _ORDER if name not in _CONFIGURED)
    (folder / "proxy-server.conf").write_text(
        _FRONT.format(folder=folder, password=_PASSWORD, front=" ".join(_ORDER)) + filters
    )


def _app(folder: Path, name: str) -> object:
    from swift.common.wsgi import loadapp

    return loadapp(str(folder / f"{name}-server.conf"), global_conf={"log_name": name})


def _serve(sock: object, app: object) -> None:
    from swift.common.wsgi import SwiftHttpProtocol

    quiet = logging.getLogger("nothing")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    # S3 clients expect ETag; eventlet would capitalise it as Etag.
    wsgi.server(sock, app, quiet, protocol=SwiftHttpProtocol, capitalize_response_headers=False)


if __name__ == "__main__":
    main()
