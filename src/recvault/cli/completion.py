"""`recvault completion`: the script that makes a shell complete verbs, options, sources, reasons and states with Tab.

The shell runs `recvault` at each Tab. It must answer at once and write nothing: the names come from the configuration's
file, without its models, and the reasons from the ledger, which is only read. What cannot be read has no completions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from recvault.cli.app import App, question

SHELLS = ("bash", "fish", "zsh")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@question
def command(app: App, shell: str) -> int:
    """Print a shell's completion script. To load it in bash: eval "$(recvault completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has each of these
    script = kind(click.get_current_context().find_root().command, {}, "recvault", "_RECVAULT_COMPLETE")
    click.echo(script.source_template % script.source_vars())
    return 0


def _names(ctx: click.Context) -> Iterable[str]:
    from recvault import config

    return config.source_names(_config(ctx))


def _reasons(ctx: click.Context) -> Iterable[str]:
    from recvault import config
    from recvault.ledger import reasons_at

    return reasons_at(config.ledger_path(_config(ctx)))


def _states(ctx: click.Context) -> Iterable[str]:
    from recvault.models import State

    return list(State)


_VALUES: dict[str, Callable[[click.Context], Iterable[str]]] = {"NAME": _names, "REASON": _reasons, "STATE": _states}
"""What completes an option or an argument, by the name of its value in the help."""


def complete_values(command: click.Command) -> None:
    """Set the completions of a verb's parameters, and of the verbs below it."""
    for param in command.params:
        if values := _VALUES.get((param.metavar or "").strip("[].")):
            param._custom_shell_complete = _completer(values)
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        complete_values(each)


def _completer(
    values: Callable[[click.Context], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(value) for value in values(ctx) if value.startswith(incomplete)]

    return complete


def _config(ctx: click.Context) -> Path | None:
    """Return the file given by `--config`, before or after the verb."""
    named: Path | None = ctx.meta.get("recvault.config") or ctx.find_root().params.get("config")
    return named
