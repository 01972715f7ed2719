"""Places: which source may begin next."""

from __future__ import annotations

from recvault.dispatch.fair_queue import Places


def begun(places: Places[str]) -> list[str]:
    found = []
    while (each := places.next()) is not None:
        found.append(each)
    return found


def filled(most: int, **waiting: int) -> Places[str]:
    places: Places[str] = Places(most)
    for source, count in waiting.items():
        places.ready[source].extend([source] * count)
    return places


def test_sources_share_what_there_is() -> None:
    """The source with the fewest running jobs is next, in its own order."""
    places = filled(4, a=9, b=9)
    assert sorted(begun(places)) == ["a", "a", "b", "b"]
    assert places.waiting == 14


def test_a_source_that_comes_late_has_a_place_of_its_own() -> None:
    """If one source has every place, each other source may still begin one job."""
    places = filled(3, a=9)
    assert begun(places) == ["a"] * 3
    places.ready["b"].extend(["b"] * 5)
    places.ready["c"].append("c")
    assert sorted(begun(places)) == ["b", "c"]
    places.over("a")
    assert begun(places) == []  # five were running, for three places
    places.over("b")
    assert begun(places) == ["b"]


def test_nothing_of_a_source_that_rests_begins() -> None:
    """Jobs of a resting source wait in their order."""
    places = filled(4, a=2, b=1)
    assert places.next(rests=lambda source: source == "a") == "b"
    assert places.next(rests=lambda source: source == "a") is None
    assert (places.waiting, places.free("a")) == (2, 3)
