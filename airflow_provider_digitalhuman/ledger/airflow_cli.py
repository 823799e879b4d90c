"""``airflow digitalhuman …``: the ledger's commands in Airflow's own command line (3.2 and later).

Every ``airflow`` command imports this module.
"""

from typing import TYPE_CHECKING

from airflow_provider_digitalhuman.ledger.arguments import COMMANDS, CONNECTION, DESCRIPTION, Argument

if TYPE_CHECKING:
    from airflow.cli.cli_config import Arg, CLICommand


def get_commands() -> "list[CLICommand]":
    """Return the commands (Airflow calls this; ``get_provider_info`` names it)."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand, lazy_load_command

    run = lazy_load_command("airflow_provider_digitalhuman.ledger.cli.run_from_airflow")
    subcommands = [
        ActionCommand(
            name=command.name,
            help=command.help,
            func=run,
            args=[_arg(argument) for argument in (*command.arguments, *CONNECTION)],
        )
        for command in COMMANDS
    ]
    return [GroupCommand(name="digitalhuman", help=DESCRIPTION, subcommands=subcommands)]


def _arg(argument: Argument) -> "Arg":
    from airflow.cli.cli_config import Arg

    return Arg((argument.name,), **argument.options)  # type: ignore[no-untyped-call]
