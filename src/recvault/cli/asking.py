"""Ask questions on a terminal, unless a flag answers them. Without a terminal each answer is a flag or a default; all
missing flags are named at once.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import click

Check = Callable[[str], str]


@dataclass(slots=True)
class Asker:
    """Asks if interactive. `missing` collects the flags of questions without an answer."""

    interactive: bool
    missing: list[str] = field(default_factory=list)

    def text(self, given: str | None, question: str, flag: str, default: str | None = None, check: Check = str) -> str:
        """Ask for a line. `check` raises ValueError with a sentence; an empty default makes the answer optional."""
        if given is not None:
            return _checked(given, check, flag)
        if not self.interactive:
            return self._without(flag, default)
        while True:
            answer: str = click.prompt(question, default=default, show_default=bool(default), type=str)
            try:
                return check(answer.strip())
            except ValueError as error:
                click.echo(f"  {error}")

    def secret(self, question: str, flag: str) -> str:
        """Ask for a line without showing what is typed."""
        if not self.interactive:
            return self._without(flag, None)
        answer: str = click.prompt(f"{question} (not shown)", hide_input=True, type=str)
        return answer.strip()

    def choice(
        self,
        given: str | None,
        question: str,
        flag: str,
        options: Sequence[tuple[str, str]],
        default: str | None = None,
    ) -> str:
        """Ask for one of several, by number or name; a single option is taken without a question."""
        names = [name for name, _ in options]
        if given is not None:
            return _checked(given, lambda text: _one_of(names, text), flag)
        if len(options) == 1:
            return names[0]
        if not self.interactive:
            return self._without(flag, default)
        click.echo(f"\n{question}")
        width = max(map(len, names))
        for number, (name, words) in enumerate(options, 1):
            click.echo(folded(f"  {number}  {name:{width}}  ", words))
        shown = str(names.index(default) + 1) if default in names else None
        return self.text(None, "Number or name", flag, shown, lambda text: _one_of(names, text))

    def confirm(self, given: bool | None, question: str, *, default: bool = True) -> bool:
        """Ask yes or no; without a terminal return the default."""
        if given is not None or not self.interactive:
            return default if given is None else given
        return click.confirm(question, default=default)

    def refuse_missing(self) -> None:
        """Raise UsageError with every flag that has no value."""
        if self.missing:
            flags = "\n".join(f"  {flag}" for flag in dict.fromkeys(self.missing))
            raise click.UsageError(f"not on a terminal, or with --yes, these are needed too:\n{flags}")

    def _without(self, flag: str, default: str | None) -> str:
        if default is None:
            self.missing.append(flag)
        return default or ""


def _one_of(names: Sequence[str], text: str) -> str:
    if text.isdecimal() and 0 < int(text) <= len(names):
        return names[int(text) - 1]
    if text not in names:
        raise ValueError(f"must be one of {', '.join(names)}")
    return text


def _checked(given: str, check: Check, flag: str) -> str:
    try:
        return check(given)
    except ValueError as error:
        raise click.UsageError(f"{flag.split(' ')[0]} {error}") from None


def folded(head: str, words: str) -> str:
    """Words beside a head, in the width of the terminal. A path is never broken, so that it can be copied."""
    columns = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(
        words,
        width=columns,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
