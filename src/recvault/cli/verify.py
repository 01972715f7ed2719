"""`recvault verify`: the bucket against the ledger."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, read_by_cluster, verb
from recvault.cli.backfill import Moment, check_window
from recvault.cli.evidence import check_copy
from recvault.errors import Interrupted, StoreRefused, StoreUnavailable
from recvault.workers.cores import on_one_core

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.custody.holds import Held
    from recvault.models import Window
    from recvault.operations.verify import Result, Sample, Verify

_SEEDS = 1_000_000
_MANY = 20_000  # recordings from which starting processes pays: that takes some seconds of CPU


class Percent(click.ParamType[float]):
    """A share: `1`, `1%` or `0.5 %`."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            percent = float(str(value).strip().removesuffix("%"))
        except ValueError:
            self.fail(f"{value} is not a percentage: write 1 or 1%", param, ctx)
        if not 0 < percent <= 100:
            self.fail(f"{value} is not more than 0 % and at most 100 %", param, ctx)
        return percent


@click.command("verify")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; repeatable.")
@click.option("--since", type=Moment(), help="Only recordings created at or after this date or time.")
@click.option("--until", type=Moment(), help="Only recordings created before this date or time.")
@click.option("--sample", type=Percent(), help="Read every byte of this percentage of the recordings.")
@click.option("--seed", type=click.IntRange(0), help="Repeat the sample that was chosen with this number.")
@click.option("--deep", is_flag=True, help="Read every byte of all recordings.")
@click.option("--repair", is_flag=True, help="Make recordings with missing objects due again; change nothing else.")
@click.option(
    "--manifests",
    "copy",
    type=click.Path(path_type=Path),
    help="Check a copy of the bucket in this directory against its manifests, offline.",
)
@click.option("--head", "heads", multiple=True, metavar="HASH", help="Hash of a manifest that the copy must contain.")
@read_by_cluster
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@verb
def command(
    app: App,
    /,
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    sample: float | None,
    seed: int | None,
    deep: bool,
    repair: bool,
    copy: Path | None,
    heads: tuple[str, ...],
    cluster: str | None,
    as_json: bool,
) -> int:
    """Compare the bucket with the ledger: read every sidecar, check each media file's size and hash.

    Changes nothing in the bucket. Exits with 3 if there are differences.
    """
    from recvault.cli.verified import advance, print_result
    from recvault.models import Window

    if copy is not None or heads:
        if copy is None or any((names, since, until, sample, seed is not None, deep, repair, cluster)):
            raise click.UsageError(
                "--manifests PATH can be combined only with --head and --json; --head needs --manifests"
            )
        return check_copy(app, copy, heads, as_json)
    check_window(since, until)
    chosen = _sample(sample, seed, deep)
    with app.signals(), app.runtime(cluster=cluster) as runtime:
        verification = _made(runtime, names, Window(since, until), chosen, repair)
        if verification.expectations.has_unknown_sums:
            _learn_sums(runtime)
        with (
            verification.expectations,
            advance(verification, shown=app.shows_progress),
            _placed(runtime, verification, chosen, cluster is not None),
        ):
            result = verification.run()
    if as_json:
        print_json(result.document())
    else:
        print_result(result)
    return _exit_code(app, result)


def _sample(percent: float | None, seed: int | None, deep: bool) -> Sample:
    from recvault.operations.verify import Sample

    if deep and percent is not None:
        raise click.UsageError("--deep and --sample cannot be combined")
    if percent is None:
        if seed is not None:
            raise click.UsageError("--seed needs --sample")
        return Sample(100.0 if deep else 0.0)
    return Sample(percent, secrets.randbelow(_SEEDS) if seed is None else seed)


def _made(runtime: Runtime, names: tuple[str, ...], window: Window, sample: Sample, repair: bool) -> Verify:
    """Make the verification for these options."""
    from recvault.errors import ConfigError
    from recvault.ledger import Expectations
    from recvault.operations.verify import BucketScope, Verify

    for name in names:
        runtime.source(name)
    if not runtime.has_ledger:
        raise ConfigError(
            f"there is no ledger {runtime.settings.ledger.path} to compare the bucket with",
            "correct ledger.path; if the ledger is lost, `recvault rebuild` makes a new one from the bucket",
        )
    runtime.honour_erasures()
    ledger, settings = runtime.ledger, runtime.settings
    sources = tuple(dict.fromkeys(names)) or None
    asked = names or ([source.name for source in settings.sources] if window.since or window.until else ())
    accounts = {(runtime.provider(name).provider, each) for name in asked for each in ledger.ask.accounts(name)}
    return Verify(
        reader=runtime.store.reader(),
        ledger=ledger,
        expectations=Expectations(settings.ledger.path, sources, window),
        scope=BucketScope(keys=runtime.keys, window=window, accounts=frozenset(accounts) if asked else None),
        sample=sample,
        workers=settings.transfer.workers,
        stop=runtime.stop,
        clock=runtime.clock,
        repair=repair,
        erased=ledger.custody.count_buried(),
        held=_held(runtime),
        remover=runtime.store.remover(),
    )


def _held(runtime: Runtime) -> Held:
    """Return what is on hold; nothing if the bucket does not answer, which the verification reports."""
    from recvault.custody.holds import Held, held

    with contextlib.suppress(Interrupted, StoreRefused, StoreUnavailable):
        return held(runtime.records)
    return Held()


@contextmanager
def _placed(runtime: Runtime, verification: Verify, sample: Sample, by_cluster: bool = False) -> Iterator[None]:
    """Use several processes for many recordings, one core for few; neither if media are read: threads hash in
    parallel."""
    from recvault.operations.verify import Checker
    from recvault.workers.bucket_readers import Crew, cores

    if by_cluster:
        from recvault.workers.executors import cluster_readers

        with cluster_readers(runtime, verification.reader, partial(Checker, sample=sample)) as (readers, processes):
            verification.elsewhere, verification.workers = readers, verification.workers * processes
            yield
    elif sample.percent:
        yield
    elif verification.expectations.count >= _MANY and (found := cores()):
        with Crew(runtime, verification.reader, partial(Checker, sample=sample), found) as crew:
            verification.elsewhere = crew
            yield
    else:
        with on_one_core():
            yield


def _learn_sums(runtime: Runtime) -> None:
    """Learn missing hashes of sidecars, archived by an earlier version, from the manifests."""
    from recvault.operations.manifests import learn_sums

    with contextlib.suppress(Interrupted, StoreRefused, StoreUnavailable):  # the following verification reports it
        learn_sums(runtime.ledger, runtime.store, runtime.keys.prefix, runtime.stop)


def _exit_code(app: App, result: Result) -> int:
    """Return the signal's exit code only if it interrupted the verification."""
    return app.exit_code(result.exit_code) if result.interrupted else result.exit_code
