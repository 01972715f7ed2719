"""The README's picture is real output: three commands on a terminal, rendered and compared."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from cli.commands import each_on_terminal
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import StrictS3

PICTURE = Path(__file__).parents[1] / "data/terminal.svg"
COLUMNS = 96
COMMANDS = (["sync"], ["status"], ["verify", "--deep"])
ACCOUNTS = (
    # source, provider, kind of recordings, count
    ("voice", "twilio", "voice", 24),
    ("telnyx", "telnyx", "telnyx", 16),
    ("signalwire", "signalwire", "signalwire", 12),
)
FRAME = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # without web fonts
LIVE = re.compile(r".*\x1b\[2K", re.DOTALL)  # progress, replaced by the last line or table
MOVES = re.compile(r"\d[\d.,:-]*( (d|h|min|s|B|KiB|MiB)\b)?|[\s─·▁-█]+")  # ages, sizes, dates; spaces and bars


@pytest.fixture
def shown(tmp_path: Path) -> list[str]:
    """Return what `sync`, `status` and `verify --deep` display for three accounts, without progress."""
    with Simulator(seed=3) as simulator, StrictS3() as server:
        rig = Rig(tmp_path, simulator, server.url, server.bucket("acme-recordings").name)
        for name, provider, kind, count in ACCOUNTS:
            account = simulator.add_account(provider)
            begin = datetime.now(UTC) - timedelta(days=25)
            simulator.populate(account, kind, count, begin, timedelta(days=24) / count)
            rig.add_source(name, provider, account)
        texts = each_on_terminal(rig, *COMMANDS, columns=COLUMNS)
    return [LIVE.sub("", text).strip("\r\n") for text in texts]


def rendered(shown: list[str]) -> str:
    """Render the commands and their output as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for words, text in zip(COMMANDS, shown, strict=True):
        console.print(Text.assemble(("$ ", "green"), ("recvault " + " ".join(words), "bold")))
        console.print(Text.from_ansi(text.replace("\r", "")), end="\n\n")
    return console.export_svg(title="recvault", theme=MONOKAI, unique_id="recvault", code_format=FRAME)


def words_of(svg: str) -> list[str]:
    """Return its text without figures and widths that vary from run to run."""
    drawn = re.findall(r"<text [^>]*>([^<]*)</text>", svg)
    return MOVES.sub(" ", " ".join(drawn).replace("&#160;", " ")).split()


def test_the_picture_shows_what_the_commands_show(shown: list[str]) -> None:
    """The picture's words match real output: `PICTURE=write pytest tests/cli/test_picture.py` redraws it."""
    svg = rendered(shown)
    if os.environ.get("PICTURE") == "write":
        PICTURE.write_text(svg)
    assert words_of(PICTURE.read_text()) == words_of(svg)
    assert "safe:" in words_of(svg)
