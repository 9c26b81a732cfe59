"""The `yaop` command. Sub-commands are entry points of the group ``yaop.commands``.

So the service and the trainer each register their own without knowing of the other, and only the one that
is called gets imported: ``yaop pose`` does not wait for TensorFlow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shared.errors import YaopError
from shared.terminal import prepare_terminal

COMMANDS_GROUP = "yaop.commands"
FAILURE = 2
INTERRUPTED = 130

_OWN_PACKAGES = ("service", "shared", "trainer")
_EXTRA_OF_PACKAGE = {"service": "serve", "trainer": "train"}


class MissingExtraError(YaopError):
    """A sub-command whose packages are not installed."""


@cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def _extra_hint(command: str, error: ModuleNotFoundError) -> MissingExtraError:
    extra = _EXTRA_OF_PACKAGE.get(_registered()[command].module.partition(".")[0], "all")
    return MissingExtraError(
        f"`yaop {command}` needs the package {error.name!r}, which is not installed; install 'yaop[{extra}]'"
    )


def _is_third_party(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] not in _OWN_PACKAGES


def _to_command(target: typer.Typer | Callable[..., Any]) -> Any:
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False)
    single.command()(target)
    return typer.main.get_command(single)


def _unavailable(error: MissingExtraError) -> Any:
    """Stands for a command that cannot be imported: listed in the help, and fails with the hint when called."""
    single = typer.Typer(add_completion=False)

    @single.command(
        help=str(error),
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def fail() -> None:
        raise error

    return typer.main.get_command(single)


class CommandGroup(TyperGroup):
    """Loads each sub-command from its entry point when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the registered sub-commands, sorted."""
        return sorted({*super().list_commands(ctx), *_registered()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The sub-command of this name, imported now; None if there is none."""
        if cmd_name not in _registered():
            return super().get_command(ctx, cmd_name)
        try:
            command = _to_command(_registered()[cmd_name].load())
        except ModuleNotFoundError as error:
            if not _is_third_party(error):
                raise
            command = _unavailable(_extra_hint(cmd_name, error))
        command.name = cmd_name
        return command


app = typer.Typer(
    name="yaop", cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _print_version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"yaop {version('yaop')}")
        except PackageNotFoundError:
            typer.echo("yaop (not installed as a package)")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find people and their poses in pictures, videos and streams."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's error (one line on stderr), 130 for Ctrl-C.

    Args:
        arguments: without the program's name; by default those of the process.
    """
    prepare_terminal()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="yaop")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except YaopError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        command = next((word for word in given if word in _registered()), None)
        if command is None or not _is_third_party(error):
            raise
        return _fail(str(_extra_hint(command, error)))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _fail(message: str) -> int:
    typer.echo("error: " + " ".join(message.split()), err=True)
    return FAILURE


if __name__ == "__main__":
    sys.exit(main())
