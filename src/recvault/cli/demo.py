"""`recvault demo`: the main job in front of your eyes, without an account anywhere."""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, question
from recvault.errors import ConfigError

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.simulator import Simulator

BUCKET = "acme-recordings"
KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo-secret"}  # the embedded server takes any
SOURCES = (
    # a source's name, its provider, the simulated account behind it, its recordings, and how many
    ("acme-voice", "twilio", "twilio", "voice", 24),
    ("acme-voice-old", "twilio-legacy", "twilio", "voice", 0),
    ("acme-video", "twilio-video", "twilio", "video", 12),
    ("acme-telnyx", "telnyx", "telnyx", "telnyx", 16),
    ("acme-signalwire", "signalwire", "signalwire", "signalwire", 12),
)
FAULTS = ("http_429", "http_503", "reset", "truncate", "html_200")
FAULT_SHARE = 0.05
MOST_PASSES = 12
_CALL_EVERY_SECONDS = 5.0


@click.command("demo")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep bucket, ledger and configuration in this directory.",
)
@click.option("--serve", is_flag=True, help="Keep providers and bucket running until Ctrl-C, to try every command.")
@question
def command(app: App, keep: Path | None, serve: bool) -> int:
    """Archive from simulated providers into a built-in S3 server. No account is needed; nothing leaves this machine."""
    from recvault.simulator import Simulator

    if keep and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty: use a new directory")
    if not app.verbose:
        logging.getLogger().setLevel(logging.ERROR)  # one request in twenty fails here on purpose
    with (
        tempfile.TemporaryDirectory(prefix="recvault-demo-") as scratch,
        Simulator(seed=1) as simulator,
        app.signals(),
    ):
        root = (keep or Path(scratch)).absolute()
        root.mkdir(parents=True, exist_ok=True)
        with _embedded_s3() as endpoint:
            config = _write_config(root, simulator, endpoint)
            code = _run(app, config, simulator)
            if keep:
                _copy_bucket(endpoint, keep / "bucket")
            if serve and not app.stop.asked.is_set():
                _serve(app, config, simulator)
                return 0  # Ctrl-C is how it ends
        _say_how_to_look(keep)
    return app.exit_code(code)


def _run(app: App, config: Path, simulator: Simulator) -> int:
    from recvault import config as configuration
    from recvault.app.runtime import Runtime
    from recvault.cli.reports import print_report, progress
    from recvault.monitoring.report import Report

    click.echo("Simulating five providers on this machine; one request in twenty gets a faulty response.\n")
    for name in FAULTS:
        simulator.faults.share(name, FAULT_SHARE / len(FAULTS))
    with Runtime(configuration.load(config), clock=now, stop=app.stop) as runtime:
        report = Report(command="demo", started_at=now())
        for number in range(1, MOST_PASSES + 1):
            with progress(app.shows_progress) as shown:
                report = runtime.sync("sync", [name for name, *_ in SOURCES], shown)
            click.echo(f"recvault sync, pass {number}: exit code {report.exit_code}")
            print_report(report)
            if report.exit_code == 0 or report.interrupted:
                break
            app.stop.asked.wait(1.5)
        click.echo(f"{simulator.faults.fired.total()} requests got a faulty response; nothing is missing.")
        simulator.faults.off()
        _say_second_pass(runtime, simulator)
        _print_bucket(runtime)
    return report.exit_code


def _serve(app: App, config: Path, simulator: Simulator) -> None:
    """Keep running, with a new call now and then, until a stop."""
    environment = {"RECVAULT_CONFIG": str(config), **KEYS}
    click.echo(
        "Providers and bucket keep running; a call is recorded every few seconds. In another terminal:\n"
        f"  export {' '.join(f'{name}={shlex.quote(value)}' for name, value in environment.items())}\n"
        "  recvault sync\n"
        "  recvault status\n"
        "  recvault verify --deep\n"
        "  recvault run\n"
        "Press Ctrl-C to stop."
    )
    [voice, *_] = simulator.accounts
    while not app.stop.asked.wait(_CALL_EVERY_SECONDS):
        simulator.add(voice, "voice", duration_seconds=3.0)


def _say_second_pass(runtime: Runtime, simulator: Simulator) -> None:
    """Show that a pass with nothing to do downloads nothing."""
    simulator.clear_requests()
    runtime.sync("sync", [name for name, *_ in SOURCES])
    media = simulator.count(lambda request: request.path.endswith((".wav", ".mp3", "/Media")))
    click.echo(f"\nSecond pass: {len(simulator.requests)} list requests, {media} downloads.\n")


def _print_bucket(runtime: Runtime) -> None:
    """Print a table of the bucket, one row per partition, and one sidecar."""
    from recvault.archive import SIDECAR_SUFFIX
    from recvault.cli.tables import Size, print_table

    partitions: dict[str, list[int]] = {}
    sidecar = ""
    for found in runtime.store.list(runtime.keys.root):
        partition, _, name = found.key.rpartition("/")
        row = partitions.setdefault(partition, [0, 0, 0])
        row[0 if name.endswith(SIDECAR_SUFFIX) else 1] += 1
        row[2] += found.bytes
        sidecar = found.key if name.endswith(SIDECAR_SUFFIX) else sidecar
    click.echo(f"In the bucket {BUCKET}:")
    rows = [(partition, sidecars, media, Size(count)) for partition, (sidecars, media, count) in partitions.items()]
    print_table(("partition", "sidecars", "media", "size"), rows)
    body = runtime.store.get(sidecar) or b""
    click.echo(f"One sidecar, {sidecar}:\n{body.decode()[:600]} …\n")


def _say_how_to_look(keep: Path | None) -> None:
    if keep is None:
        click.echo("Nothing was kept. To keep the files and look at them:\n  recvault demo --keep demo")
        return
    click.echo(
        f"Kept in {keep}. To look at it:\n"
        f"  find {keep}/bucket -type f | head\n"
        f"  recvault --config {keep}/config.toml status\n"
        f"  recvault --config {keep}/config.toml failures\n"
        "The simulated providers have stopped. To try sync, verify and other commands, use `recvault demo --serve`."
    )


@contextmanager
def _embedded_s3() -> Iterator[str]:
    """Run moto on a free port of loopback."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise ConfigError("the demo's S3 server is not installed", "pip install 'recvault[demo]'") from error
    import os

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ.update(KEYS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        _client(f"http://{host}:{port}").create_bucket(Bucket=BUCKET)
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _client(endpoint: str) -> Any:
    from recvault.store.s3.clients import make_client

    return make_client(region="us-east-1", endpoint_url=endpoint, addressing_style="path", pool=4)


def _write_config(root: Path, simulator: Simulator, endpoint: str) -> Path:
    """Write a configuration as an operator would, with the secrets in files."""
    lines = [
        f'[archive]\nbucket = "{BUCKET}"\nendpoint_url = "{endpoint}"\naddressing_style = "path"\n',
        f'[ledger]\npath = "{root / "ledger.db"}"\n',
        f'[transfer]\nspool_dir = "{root / "spool"}"\nworkers = 8\nretry_base = "1s"\nretry_max = "1s"\n'
        'min_free_disk = "0"\nstall_timeout = "5s"\n',
    ]
    accounts: dict[str, Any] = {}
    for name, provider, kind, api, count in SOURCES:
        account = accounts.setdefault(kind, None) or simulator.add_account(kind)  # type: ignore[arg-type]
        accounts[kind] = account
        if count:
            simulator.populate(account, api, count=count)  # type: ignore[arg-type]
        lines.append(_source(root, name, provider, account, simulator))
    path = root / "config.toml"
    path.write_text("\n".join(lines))
    return path


def _source(root: Path, name: str, provider: str, account: Any, simulator: Simulator) -> str:
    entries = {"name": name, "provider": provider, "base_url": simulator.base_url}
    lines = ["[[sources]]", *(f'{key} = "{value}"' for key, value in entries.items())]
    for key, value in account.credentials.items():
        if key in ("account_sid", "project_id"):
            lines.append(f'{key} = "{value}"')
            continue
        secret = root / f"{name}.{key}"
        secret.touch(mode=0o600)
        secret.write_text(value)
        lines.append(f'{key} = {{ file = "{secret}" }}')
    return "\n".join([*lines, f'media_hosts = ["{simulator.media_host}"]', ""])


def _copy_bucket(endpoint: str, target: Path) -> None:
    client = _client(endpoint)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            path = target / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read())
    client.close()
