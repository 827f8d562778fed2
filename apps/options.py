"""Options that the commands of all apps share, and those that settings make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import limits
from apps.console import new_console, say
from apps.limits import Range
from apps.settings import Setting, Settings, settings_of

if TYPE_CHECKING:
    from minigrad import Device

Decorator = Callable[[Any], Any]


class Number(click.FloatRange):
    """A number in a range; "nan", which Python reads as one, is in none."""

    def convert(self, value: Any, *where: Any) -> Any:
        """Read a number, and refuse what is none."""
        number = super().convert(value, *where)
        if math.isnan(number):
            self.fail("'nan' is not a number. Give one, as in 0.5.", *where)
        return number


def numbers(of: Range) -> click.ParamType:
    """The type of an option whose value must be in a range, as every number's must."""
    if of.whole:
        return click.IntRange(int(of.low), int(of.high))
    return Number(of.low, of.high, min_open=of.above, max_open=of.below)


HELP = {"help_option_names": ["-h", "--help"]}
FOLDER = click.Path(path_type=Path)
POSITIVE = numbers(limits.COUNT)
SEEDS = numbers(limits.SEED)
RUN = click.argument("run", type=FOLDER)
RESUME = click.option("--resume", type=FOLDER, help="Run folder to go on with.")
COMPILE = click.option(
    "--compile/--no-compile",
    "compiled",
    default=True,
    show_default=True,
    help="Record a training step once and replay it, or run it as it is written, which "
    "a debugger can step through.",
)
SEED = click.option(
    "--seed", type=SEEDS, default=0, show_default=True, help="Same seed, same result."
)
RUN_SEED = click.option("--seed", type=SEEDS, help="[default: the run's own]")
# For those that read what a run learned from.
MOVED_DATA = click.option(
    "--data", type=FOLDER, help="Where the run's data lie now, if they were moved."
)

DOWNLOADING = (
    "Every file is checked against the published size and sha256. Ctrl-C keeps what "
    "has come, and the same command goes on with it."
)
# Weights, Adam's moments and a minibatch of the default size take far less.
GPU_MEMORY = 2**30  # bytes


class DeviceError(click.ClickException):
    """There is no such device."""

    exit_code = 2  # click's for a wrong option


def _find_device(_: click.Context, __: click.Parameter, name: str) -> Device:
    import minigrad as mg

    try:
        return mg.device(name, memory=GPU_MEMORY)
    except (ValueError, RuntimeError) as error:
        raise DeviceError(str(error)) from error


def device_option(default: str = "auto") -> Decorator:
    """The option `--device`, a `minigrad.Device` by the time the command begins."""
    return click.option(
        "--device",
        default=default,
        show_default=True,
        callback=_find_device,
        help="cpu, cuda, cuda:N, or auto: the GPU with the most free memory, if any.",
    )


def count_option(default: int, what: str) -> Decorator:
    """The option `--count`: how many to show."""
    kind = numbers(limits.SHOWN)
    return click.option(
        "--count", type=kind, default=default, show_default=True, help=what
    )


def new_run_option(app: str) -> Decorator:
    """The option `--run`, for the folder of a new run."""
    told = f"Folder for the results.  [default: runs/{app}-TIME]"
    return click.option("--run", type=FOLDER, help=told)


# -- settings ----------------------------------------------------------------------


def setting_options(kind: type[Settings], default: str = "") -> Decorator:
    """An option for each setting, None if not given; `default` is what help says."""

    def decorate(command: Any) -> Any:
        for of in reversed([*settings_of(kind)]):
            if of.option and (of.of or of.choices or of.kind is bool):
                command = _option(of, default)(command)
        return command

    return decorate


def setting_option(kind: type[Settings], name: str) -> Decorator:
    """The option of one setting, which is the default where it is not given."""
    of = next(of for of in settings_of(kind) if of.name == name)
    return _option(of, "", default=of.default)


def _option(of: Setting, shown: str, **more: Any) -> Decorator:
    told = of.help
    for name, values in of.heeded.items():
        told = f"With --{name} {' or '.join(values)}: {told[0].lower()}{told[1:]}"
    if of.kind is bool:
        return click.option(dashed(of.name), is_flag=True, default=None, help=told)
    kind = click.Choice(of.choices) if of.of is None else numbers(of.of)
    told += f"  [default: {of.told or shown or of.default}]"
    return click.option(dashed(of.name), type=kind, help=told, **more)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def dashed(name: str) -> str:
    """An option as one types it."""
    return "--" + name.replace("_", "-")


# -- options without effect --------------------------------------------------------


def _no_effect(name: str, where: str, way_out: str) -> click.UsageError:
    return click.UsageError(f"{dashed(name)} has no effect with {where}. {way_out}")


def refuse_unheeded(
    kind: type[Settings], asked: Iterable[str], option: str, choice: str
) -> None:
    """Raises: UsageError if a setting has no effect beside this choice of an option."""
    for of in settings_of(kind):
        if of.name in asked and not of.has_effect({option: choice}):
            others = f" or --{option} ".join(of.heeded[option])
            way_out = f"Leave it out, or give --{option} {others}."
            raise _no_effect(of.name, f"--{option} {choice}", way_out)


def refuse_beside(
    names: Iterable[str], where: str, way_out: str = "Leave one of them out."
) -> None:
    """Raises: UsageError if one of these options is given."""
    context = click.get_current_context()
    command_line = click.core.ParameterSource.COMMANDLINE
    for name in names:
        if context.get_parameter_source(name) == command_line:
            raise _no_effect(name, where, way_out)


def refuse_settings() -> None:
    """Raises: UsageError if an option is given that a run which goes on cannot heed."""
    heeded = ("resume", "device", "data", "compiled")
    parameters = click.get_current_context().command.params
    unheeded = [str(p.name) for p in parameters if p.name not in heeded]
    where = "--resume: a run goes on with the settings that it began with"
    refuse_beside(unheeded, where, "Leave it out, or begin a new run.")


# -- data --------------------------------------------------------------------------


def new_data_options(what: str) -> Decorator:
    """The argument DIR, the seed, and `--train` and `--val`, numbers of `what`."""

    def refuse_old(_: click.Context, __: click.Parameter, folder: Path) -> Path:
        if folder.exists():
            raise click.ClickException(
                f"{folder} exists already, and writing there would overwrite it. Give "
                "a new folder, or remove that one."
            )
        return folder

    def decorate(command: Any) -> Any:
        for name, split in (("val", "validation"), ("train", "training")):
            told = f"Number of {split} {what}."
            command = click.option(f"--{name}", type=POSITIVE, help=told)(command)
        new = click.argument("folder", metavar="DIR", type=FOLDER, callback=refuse_old)
        return new(SEED(command))

    return decorate


def add_download(
    group: click.Group, catalogue: str, place: str, told: str, *hints: str
) -> None:
    """Add the command `download`, which fetches the archive of a catalogue, a module.

    `told` is its help, `hints` what it says at the end, "{}" standing for the folder.
    """

    @group.command("download", help=f"{told}\n\n{DOWNLOADING}")
    @click.argument("folder", metavar="[DIR]", type=FOLDER, default=Path(place))
    @click.option("--keep-zip", is_flag=True, help="Keep the zip, as DIR.zip.")
    def bring(folder: Path, keep_zip: bool) -> None:
        from apps import download

        console, published = new_console(), import_module(catalogue)
        with download.stoppable(console):
            download.download(published.ARCHIVE, folder, console, keep=keep_zip)
        for line in (published.LICENCE, *(hint.format(folder) for hint in hints)):
            say(line, console)
