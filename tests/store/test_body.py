"""A body's view is released by its user, so that a file in memory can be closed after any put."""

from __future__ import annotations

import io

import pytest

from recvault.errors import StoreUnavailable
from recvault.store.s3.body import in_memory
from recvault.transfer.spool import Spool, SpoolPlace
from store.places import Place, make_put

KEY = "recordings/RE1.wav"
BODIES = {"small": b"RIFF" * 100, "streamed": b"RIFF" * 500_000}


@pytest.mark.parametrize("name", BODIES)
def test_a_put_that_went_well_keeps_nothing_open(aws: Place, name: str) -> None:
    """After a put its body can be closed, with each sender."""
    put = make_put(KEY, BODIES[name])
    assert aws.store().put(put) is True
    put.body.close()
    assert put.body.closed


@pytest.mark.parametrize("name", BODIES)
def test_a_put_that_failed_keeps_nothing_open(aws: Place, name: str, waits: list[float]) -> None:
    """Its body can also be closed while the error's traceback is held."""
    assert aws.strict is not None
    store = aws.store()
    aws.strict.faults.plan("reset_before", "PUT", KEY, times=99)
    put = make_put(KEY, BODIES[name])
    with pytest.raises(StoreUnavailable) as caught:
        store.put(put)
    assert caught.value.__traceback__ is not None
    put.body.close()
    assert put.body.closed


def test_a_view_that_is_held_on_to_keeps_nothing_open() -> None:
    """A view is released with its block, not with its last reference."""
    body = io.BytesIO(b"RIFF")
    with in_memory(body) as view:
        assert view == b"RIFF"
    body.close()
    with pytest.raises(ValueError, match="released"):
        bytes(view)


def test_a_spool_can_be_put_again(tmp_path: object) -> None:
    """Releasing a view of a spool does not release the spool's own."""
    place = SpoolPlace(directory=tmp_path, memory=1024, min_free_disk=0)  # type: ignore[arg-type]
    with Spool(place, 4) as spool:
        spool.write(b"RIFF")
        for _ in range(2):
            with in_memory(spool.file) as view:
                assert view == b"RIFF"
        assert spool.file.read() == b"RIFF"
