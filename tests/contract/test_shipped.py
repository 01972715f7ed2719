"""What the installed package contains for the author of a plug-in."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from importlib import metadata, resources
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

import recvault
from recvault import testing
from recvault.http.client import USER_AGENT
from recvault.models import Phase
from recvault.providers import GROUP, Registry
from recvault.providers.base import Provider
from recvault.testing import reply_to, sound
from recvault.testing.test_toy import test_the_documented_page_is_read as test_the_toys_own_test_passes
from recvault.testing.toy import Toy

__all__ = ["test_the_toys_own_test_passes"]


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("recvault", "py.typed"),
        ("recvault.providers", "README.md"),
        *(("recvault.testing", name) for name in ("toy.py", "toy_service.py", "test_toy.py")),
    ],
)
def test_the_files_to_read_and_to_copy_are_shipped(package: str, name: str) -> None:
    """The guide, the toy, its server and its test are shipped beside the code, with type information."""
    assert resources.files(package).joinpath(name).is_file()


def test_one_version_for_all() -> None:
    """Package metadata, `--version` and User-Agent have the same version."""
    ran = subprocess.run([sys.executable, "-m", "recvault", "--version"], capture_output=True, text=True, check=True)
    told = (metadata.version("recvault"), ran.stdout.split()[-1], USER_AGENT.removeprefix("recvault/"))
    assert told == (recvault.__version__,) * 3


@pytest.mark.parametrize("name", sorted(testing.__all__))
def test_the_guide_names_all_that_a_test_needs(name: str) -> None:
    """Each name of `recvault.testing` is in the guide, so that nobody must read the source."""
    assert f"`{name}" in resources.files("recvault.providers").joinpath("README.md").read_text()


def test_the_guide_names_every_fact_and_verb() -> None:
    """Every attribute and method of a provider and of `Rest` is in the guide."""
    from recvault.providers.rest import Bounds, Paging, Rest

    guide = resources.files("recvault.providers").joinpath("README.md").read_text()
    classes = (Provider, Rest, Bounds, Paging)
    names = {name for each in classes for name in (*each.__annotations__, *vars(each)) if not name.startswith("_")}
    assert {name for name in names if f"`{name}" not in guide} == set()


@pytest.mark.parametrize("media_format", ["wav", "mp3", "mka", "mkv"])
def test_sounds_differ_by_their_key_alone(media_format: str) -> None:
    """The same key gives the same bytes, so that a server knows what a client must receive."""
    assert sound(media_format, "a") == sound(media_format, "a") != sound(media_format, "b")


def test_a_sound_that_cannot_be_made_is_refused() -> None:
    """An unsupported format is an error with a hint."""
    with pytest.raises(ValueError, match=r"sound\(\) makes wav, mp3, mka, mkv, not 'ogg'"):
        sound("ogg")


@pytest.mark.parametrize("body", [{"sounds": []}, '{"sounds": []}', b'{"sounds": []}'])
def test_a_captured_reply_is_given_to_a_provider(body: object) -> None:
    """A reply can be a document, text or bytes, for the first page or a URL."""
    toy = Toy("https://toy.example", "bears")
    for url in ("", "https://toy.example/v1/bears?start=5"):
        reply = reply_to(toy, body, url=url)
        assert toy.parse_page(reply).recordings == ()
        assert str(reply.request.url).startswith(url or "https://toy.example/v1/bears?most=")


def test_the_guides_own_example_is_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's example loads as a plug-in, requests its list and reads a row."""
    guide = resources.files("recvault.providers").joinpath("README.md").read_text()
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", guide, re.DOTALL | re.MULTILINE)
    module = ModuleType("recvault_acme")
    exec(textwrap.dedent(next(each for each in blocks if "class Acme(Rest)" in each)), vars(module))
    monkeypatch.setitem(sys.modules, "recvault_acme", module)
    plugins = Registry((EntryPoint("acme", "recvault_acme:Acme", GROUP),))
    acme = plugins["acme"].from_settings("main", {"account": "A1", "token": "t"})
    row = {"id": "r1", "created_at": "2026-10-01T05:00:00Z", "state": "done", "call": {"id": "c1"}, "seconds": 2}
    page = acme.parse_page(reply_to(acme, {"recordings": [row], "meta": {"next": "/v1/accounts/A1/recordings?page=2"}}))
    (recording,) = page.recordings
    (media,) = acme.media_requests(recording, "mp3")
    assert (recording.call_id, recording.phase) == ("c1", Phase.COMPLETE)
    assert str(page.next) == "https://api.acme.example/v1/accounts/A1/recordings?page=2"
    assert str(media.url) == "https://api.acme.example/v1/accounts/A1/recordings/r1/audio.mp3"
    assert acme.authorization({"account": "A1", "token": "t"}) == "Basic QTE6dA=="
