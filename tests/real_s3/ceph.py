"""Ceph's RGW from Debian's packages: locks, holds, versions, tags and conditional puts."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from pathlib import Path

from real_s3 import certificates
from real_s3.servers import PATIENCE, Absent, NotStarted, RealServer, await_answer, free_port, spawn

NAME = "ceph"
_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_INSTALL = "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common"
_KEYS = ("recvault-test-key", "recvault-test-secret")
_CONF = Path(__file__).with_name("ceph.conf")


def check() -> None:
    """Raise Absent, with what to install, if one of its programs is missing."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise Absent(f"Ceph is not installed ({', '.join(missing)} missing): {_INSTALL}")


def start(folder: Path) -> RealServer:
    """Start it over an empty folder, until it is stopped. It takes about ten seconds."""
    check()
    authority, mon_port, port, tls_port = certificates.make(folder), free_port(), free_port(), free_port()
    conf, fsid = folder / "ceph.conf", str(uuid.uuid4())
    for each in ("mon", "osd", "rgw"):
        (folder / each).mkdir(exist_ok=True)
    conf.write_text(_CONF.read_text().format(folder=folder, fsid=fsid, mon_port=mon_port, port=port, tls_port=tls_port))
    monmap = str(folder / "monmap")
    _run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", f"v2:127.0.0.1:{mon_port}", monmap)
    _run("ceph-mon", "-c", str(conf), "--mkfs", "-i", "a", "--monmap", monmap)
    pids = [spawn(folder, "1-mon", "ceph-mon", "-c", str(conf), "-f", "-i", "a")]
    disk = str(uuid.uuid4())
    _ceph(conf, "osd", "new", disk)
    _run("ceph-osd", "-c", str(conf), "-i", "0", "--mkfs", "--osd-uuid", disk)
    pids.append(spawn(folder, "2-osd", "ceph-osd", "-c", str(conf), "-f", "-i", "0"))
    _await_disk(conf)
    pids.append(spawn(folder, "3-rgw", "radosgw", "-c", str(conf), "-f", "-n", "client.rgw.t"))
    await_answer(f"http://127.0.0.1:{port}/", folder / "3-rgw.log")
    _make_user(conf)
    return RealServer(
        name=NAME,
        url=f"http://127.0.0.1:{port}",
        tls_url=f"https://localhost:{tls_port}",
        authority=str(authority),
        access_key=_KEYS[0],
        secret_key=_KEYS[1],
        pids=tuple(pids),
    )


def _make_user(conf: Path) -> None:
    user = ("--uid=recvault", "--display-name=recvault", f"--access-key={_KEYS[0]}", f"--secret-key={_KEYS[1]}")
    _run("radosgw-admin", "-c", str(conf), "user", "create", *user)


def _await_disk(conf: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while "1 up" not in _ceph(conf, "osd", "stat"):
        if time.monotonic() > deadline:
            raise NotStarted(f"Ceph's disk does not come up: see {conf.parent}/2-osd.log")
        time.sleep(0.1)


def _ceph(conf: Path, *words: str) -> str:
    return _run("ceph", "-c", str(conf), "--connect-timeout", "30", *words)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise NotStarted(f"{' '.join(words)} failed: {done.stderr[-1000:]}")
    return done.stdout
