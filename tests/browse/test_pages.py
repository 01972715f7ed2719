"""The pages without a browser: who is let in, what is found, what is sent, what is logged."""

from __future__ import annotations

import hashlib
import html
import io
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from browse.conftest import Small, opened, serve
from recvault.browse.serving import Served
from recvault.store import ObjectPart
from recvault.store.local.local_reader import LocalReader

R3, ENCRYPTED, HOSTILE = (f"RE{number:032x}" for number in (3, 6, 7))
EVERYWHERE = [
    "/",
    "/?q=0100",
    f"/r/{R3}",
    f"/peaks/0/{R3}",
    f"/media/0/{R3}",
    f"/evidence/{R3}",
    "/static/browse.js",
    "/x",
]


def ids(text: str) -> list[str]:
    """Return the recordings that a page lists, in its order."""
    return re.findall(r'<a href="/r/(RE[0-9a-f]+)\?', text)


@pytest.mark.parametrize("path", EVERYWHERE)
def test_without_the_cookie_nothing_is_shown(pages: Served, path: str) -> None:
    """403 for whatever is asked without the cookie, and with a wrong token or cookie."""
    wrong = {"cookie": f"recvault-{pages.url.rpartition(':')[2]}=wrong"}
    answers = [
        httpx.get(pages.url + path, trust_env=False),
        httpx.get(pages.url + path, headers=wrong, trust_env=False),
        httpx.get(pages.url + path, params={"token": "wrong"}, trust_env=False),
    ]
    assert [each.status_code for each in answers] == [403] * 3
    assert not any(R3 in each.text for each in answers)


def test_the_link_works_once(pages: Served) -> None:
    """The link sets a strict cookie that scripts cannot read, and is 403 for the next who has it."""
    answer = httpx.get(pages.link, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    told = answer.headers["set-cookie"].lower()
    assert "samesite=strict" in told and "httponly" in told
    assert pages.token not in told
    assert httpx.get(pages.link, trust_env=False).status_code == 403


def test_the_link_leads_to_no_other_host(pages: Served) -> None:
    """A link with a path of two slashes stays at this server."""
    answer = httpx.get(f"{pages.url}//elsewhere.example/?token={pages.token}", trust_env=False)
    assert answer.headers["location"] == "/elsewhere.example/"


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1", "127.0.0.1:1", "localhost.elsewhere.example"])
def test_a_foreign_host_is_misdirected(browser: httpx.Client, host: str) -> None:
    """421 for another Host, even with the cookie: a page elsewhere cannot reach the archive by a name of its own."""
    assert [browser.get(path, headers={"host": host}).status_code for path in EVERYWHERE] == [421] * len(EVERYWHERE)


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_is_sealed(browser: httpx.Client, path: str) -> None:
    """Nothing is cached, framed, sniffed, or loaded from elsewhere; no inline script runs."""
    told = browser.get(path).headers
    assert told["cache-control"] == "no-store"
    assert (told["x-content-type-options"], told["referrer-policy"]) == ("nosniff", "no-referrer")
    policy = dict(each.strip().split(" ", 1) for each in told["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert not re.search("unsafe|https?:|\\*", told["content-security-policy"])


def test_only_reading_is_possible(browser: httpx.Client) -> None:
    """Every other method is 405."""
    assert [browser.request(each, "/").status_code for each in ("POST", "PUT", "DELETE")] == [405] * 3


def test_it_opens_on_the_newest_month(browser: httpx.Client) -> None:
    """Nothing typed shows the newest month, the newest recording first."""
    page = browser.get("/").text
    assert ids(page) == [f"RE{number:032x}" for number in (7, 6, 5, 4)]
    assert "October 2026" in page
    assert page.count('<a href="/?q=2026-10-') == 31 + 4  # the strip, and a heading a day


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("0100003", [3]),
        ("(010) 0003", [3]),
        ("+1 555 020 0002", [2]),
        ("555", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("55", []),
        (R3, [3]),
        ("RE0000", [7, 6, 5, 4, 3, 2, 1, 0]),
        (f"CA{3:032x}", [3]),
        ("2026-09-04", [3]),
        ("2026-09", [3, 2, 1, 0]),
        ("2026-13", []),
        ("2026-02-31", []),
        ("1999-01-01", []),
        ("'; DROP TABLE x; --", []),
        ("%", []),
    ],
)
def test_one_box_finds_numbers_ids_and_days(browser: httpx.Client, typed: str, found: list[int]) -> None:
    """A part of a number, an ID or its beginning, a call's, a day and a month are told apart; anything else finds
    nothing."""
    answer = browser.get("/", params={"q": typed})
    assert (answer.status_code, ids(answer.text)) == (200, [f"RE{number:032x}" for number in found])


def test_a_day_has_lanes_and_hours(browser: httpx.Client) -> None:
    """A day shows a lane for each source; an hour of it narrows the list."""
    page = browser.get("/", params={"q": "2026-09-04"}).text
    assert 'href="/?q=2026-09-04&amp;hour=11"' in page and "support" in page
    hours = [browser.get("/", params={"q": "2026-09-04", "hour": hour}).text for hour in ("11", "12", "99", "x")]
    assert [ids(each) for each in hours] == [[R3], [], [R3], [R3]]


def test_a_card_proves_in_one_sentence(browser: httpx.Client, small: Small) -> None:
    """A card says when it was archived, its SHA-256 and its manifest; a part of it can be had alone."""
    row = small.rows[3]
    page = browser.get(f"/r/{R3}").text
    sentence = f"Archived 2026-09-04 23:12 UTC; SHA-256 {row['media_sha256'][:16]}… is recorded in the sidecar; "
    assert f"{sentence}listed in manifest 42." in page
    assert row["media_sha256"] in page
    part = browser.get(f"/r/{R3}", headers={"x-part": "card"}).text
    assert sentence in part and "<html" not in part


@pytest.mark.parametrize("lost", ["json", "wav"])
def test_a_card_tells_what_is_missing(fresh_pages: Served, fresh: Small, lost: str) -> None:
    """A sidecar or medium that is not in the bucket is no proof, and the card says so."""
    key = fresh.rows[3]["sidecar_key" if lost == "json" else "media_key"]
    (fresh.root / key).unlink()
    with opened(fresh_pages) as client:
        page = client.get(f"/r/{R3}").text
    assert "is not in the bucket now: run `recvault verify`." in page
    assert "proof bad" in page


def test_a_card_tells_what_differs(fresh_pages: Served, fresh: Small) -> None:
    """A sidecar that is not the one of the catalog is no proof, and the card says so."""
    path = fresh.root / fresh.rows[3]["sidecar_key"]
    path.write_bytes(path.read_bytes().replace(b'"attempts": 1', b'"attempts": 2'))
    with opened(fresh_pages) as client:
        assert "the sidecar is not what the catalog lists" in client.get(f"/r/{R3}").text


def test_an_unknown_id_is_told(browser: httpx.Client) -> None:
    """404, in words, and the way back."""
    answer = browser.get("/r/RE404")
    assert answer.status_code == 404
    assert "the catalog lists no recording RE404" in answer.text


def test_hostile_text_stays_text(browser: httpx.Client) -> None:
    """Tags in a provider's row, a number, a search or an ID are shown, never interpreted."""
    tag = "<script>document.title='owned'</script>"
    answers = [
        browser.get("/"),
        browser.get(f"/r/{HOSTILE}"),
        browser.get("/", params={"q": tag}),
        browser.get(f"/r/{tag}"),
    ]
    for answer in answers:
        assert "<script>document" not in answer.text and "<img" not in answer.text
        assert "<script>document" in html.unescape(answer.text)


def test_what_a_browser_cannot_play_is_offered_for_download(browser: httpx.Client) -> None:
    """An encrypted medium has no player, but a download."""
    page = browser.get(f"/r/{ENCRYPTED}").text
    assert 'class="player"' not in page
    assert f"recvault decrypt {ENCRYPTED}" in page
    assert f'href="/media/0/{ENCRYPTED}?download=1"' in page
    assert browser.get(f"/peaks/0/{ENCRYPTED}").json()["peaks"] is None


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-100", 206, slice(-100, None)),
        ("bytes=50-99999999", 206, slice(50, None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("bytes=99999999-", 416, slice(0)),
        ("bytes=-0", 416, slice(0)),
        ("bytes=9-3", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
    ],
)
def test_media_by_ranges(browser: httpx.Client, small: Small, asked: str | None, status: int, part: slice) -> None:
    """A range of a medium is what it names; 416 where the medium has none of it; what is no range is ignored."""
    body = (small.root / small.rows[3]["media_key"]).read_bytes()
    answer = browser.get(f"/media/0/{R3}", headers={"range": asked} if asked else {})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(body)}"
        return
    assert answer.content == body[part]
    assert answer.headers["content-type"] == "audio/wav"
    start, end, _ = part.indices(len(body))
    told = f"bytes {start}-{end - 1}/{len(body)}" if status == 206 else None
    assert answer.headers.get("content-range") == told


def test_a_medium_is_never_held_whole(fresh_pages: Served, fresh: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Media are read from the store in pieces of a mebibyte at most, as they are sent."""
    asked: list[int] = []
    part = LocalReader.part

    def counted(self: LocalReader, key: str, start: int, size: int) -> ObjectPart | None:
        asked.append(size)
        return part(self, key, start, size)

    monkeypatch.setattr(LocalReader, "part", counted)
    monkeypatch.setattr("recvault.browse.holdings.PIECE", 1000)
    with opened(fresh_pages) as client:
        whole = client.get(f"/media/0/{R3}").content
    assert whole == (fresh.root / fresh.rows[3]["media_key"]).read_bytes()
    assert max(asked) == 1000 and len(asked) == -(-len(whole) // 1000)


def test_a_lost_medium_is_404(fresh_pages: Served, fresh: Small, events: list[dict[str, Any]]) -> None:
    """A medium that is not in the bucket is told, and is no listen."""
    (fresh.root / fresh.rows[3]["media_key"]).unlink()
    with opened(fresh_pages) as client:
        assert client.get(f"/media/0/{R3}").status_code == 404
    assert events == []


def test_a_listen_is_logged_on_play_alone(browser: httpx.Client, small: Small, events: list[dict[str, Any]]) -> None:
    """Opening a card logs nothing; the first bytes for its player log who, and which; further ranges do not; another
    card does."""
    for path in ("/", f"/r/{R3}", f"/peaks/0/{R3}", "/static/browse.js"):
        browser.get(path)
    browser.head(f"/media/0/{R3}?card=one")
    assert events == []
    for asked in ("bytes=0-", "bytes=100-200", "bytes=0-"):
        browser.get(f"/media/0/{R3}?card=one", headers={"range": asked})
    browser.get(f"/media/0/{R3}?card=two")
    browser.get(f"/media/0/{R3}")
    browser.get(f"/media/0/{R3}")
    browser.get(f"/media/0/{R3}?download=1&card=one")
    browser.get(f"/evidence/{R3}")
    names = ["browse.listened"] * 4 + ["browse.downloaded", "browse.handed_over"]
    assert [each["event"] for each in events] == names
    wanted = {"who": "ada", "recording_id": R3, "source": "support", "sha256": small.rows[3]["media_sha256"]}
    assert {key: events[0][key] for key in wanted} == wanted


def test_evidence_verifies_offline(browser: httpx.Client, small: Small, tmp_path: Path) -> None:
    """The zip has media, sidecar and manifest lines as archived; `sha256sum -c` proves each file of it."""
    answer = browser.get(f"/evidence/{R3}")
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{R3}.zip"')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert file.testzip() is None
        file.extractall(tmp_path)
    folder, row = tmp_path / R3, small.rows[3]
    for list_of_sums in ("SHA256SUMS", "manifest-lines.txt"):
        checked = subprocess.run(
            ["sha256sum", "-c", "--strict", list_of_sums], cwd=folder, capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stderr
    listed = {line[66:] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    there = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert there - listed == {"SHA256SUMS"} and listed <= there
    assert (folder / row["media_key"]).read_bytes() == (small.root / row["media_key"]).read_bytes()
    assert (folder / row["sidecar_key"]).read_bytes() == (small.root / row["sidecar_key"]).read_bytes()
    manifest = small.root / "manifests/provider=twilio/account=AC1/number=00000042/manifest-sha256.txt"
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() in (folder / "README.txt").read_text()
    assert len((folder / "manifest-lines.txt").read_text().splitlines()) == 2


def test_evidence_without_a_manifest_says_so(browser: httpx.Client) -> None:
    """A recording of today is in no manifest yet: its evidence says so."""
    with zipfile.ZipFile(io.BytesIO(browser.get(f"/evidence/RE{0:032x}").content)) as file:
        assert "No manifest lists this recording yet" in file.read(f"RE{0:032x}/README.txt").decode()


def test_evidence_that_differs_is_never_whole(fresh_pages: Served, fresh: Small) -> None:
    """A flipped bit breaks the zip off; a sidecar that is not the catalog's is refused before a byte is sent."""
    media, sidecar = (fresh.root / fresh.rows[3][key] for key in ("media_key", "sidecar_key"))
    body = bytearray(media.read_bytes())
    body[1000] ^= 1
    media.write_bytes(body)
    with opened(fresh_pages) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/evidence/{R3}")
        sidecar.write_bytes(sidecar.read_bytes() + b" ")
        assert client.get(f"/evidence/{R3}").status_code == 502


@pytest.mark.parametrize(
    ("broken", "status", "words"),
    [("gone", 404, "recvault catalog"), ("torn", 502, "recvault catalog --rebuild")],
)
def test_a_catalog_that_cannot_be_read_is_told(fresh: Small, broken: str, status: int, words: str) -> None:
    """Without a catalog, or with a torn one, the page says what to run."""
    for path in (fresh.root / "catalog").rglob("*.parquet"):
        path.unlink() if broken == "gone" else path.write_bytes(path.read_bytes()[:100])
    for pages in serve(fresh):
        with opened(pages) as client:
            answer = client.get("/")
    assert (answer.status_code, words in answer.text) == (status, True)
