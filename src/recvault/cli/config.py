"""`recvault config`: an example to start from, the configuration in effect, and whether it is valid."""

from __future__ import annotations

import click

from recvault.cli.app import App, print_json, question

SCHEMA = "recvault/config/v1"


@click.group("config")
def command() -> None:
    """Print an example configuration or the one in effect, or check the file. Reads no secret, asks nobody."""


@command.command("example")
@question
def example(app: App) -> int:
    """Print a commented configuration with every option and its default."""
    from recvault.setup.shipped import example

    click.echo(example(), nl=False)
    return 0


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def show(app: App, as_json: bool) -> int:
    """Print the configuration in effect, defaults included. Of secrets it prints only where they are."""
    from recvault import config
    from recvault.config import effective

    path = config.find(app.config)
    settings = config.load(path)
    if as_json:
        print_json({"schema": SCHEMA, "path": str(path.absolute()), "config": effective.document(settings)})
    else:
        click.echo(f"# {path.absolute()}, with every default\n")
        click.echo(effective.toml(settings), nl=False)
    return 0


@command.command("validate")
@question
def validate(app: App) -> int:
    """Check the configuration file, as `check --config-only` does: each problem with file and line, exit code 78."""
    from recvault.cli.check import in_effect
    from recvault.log.lines import redact_text

    click.echo(redact_text(f"ok    configuration: {in_effect(app)}"))
    return 0
