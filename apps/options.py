"""Which options do the commands of all applications share?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import limits
from apps.limits import Range

if TYPE_CHECKING:
    from minigrad import Device


class Number(click.FloatRange):
    """A number in a range; "nan", which Python reads as one, is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Read a number, and refuse what is none."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("'nan' is not a number. Give one, as in 0.5.", param, ctx)
        return number


def numbers(of: Range) -> click.ParamType:
    """What an option takes whose value must be in a range: every numeric option's."""
    if of.whole:
        return click.IntRange(int(of.low), int(of.high))
    return Number(of.low, of.high, min_open=of.above, max_open=of.below)


FOLDER = click.Path(path_type=Path)
POSITIVE = numbers(limits.COUNT)
SEEDS = numbers(limits.SEED)
RUN = click.argument("run", type=FOLDER)
RESUME = click.option("--resume", type=FOLDER, help="Run folder to go on with.")
SEED = click.option(
    "--seed",
    type=SEEDS,
    default=0,
    show_default=True,
    help="Same seed, same result.",
)
RUN_SEED = click.option("--seed", type=SEEDS, help="[default: the run's own]")
# For those that read what a run learned from.
MOVED_DATA = click.option(
    "--data", type=FOLDER, help="Where the run's data lie now, if they were moved."
)

# Weights, Adam's moments and a minibatch of the default size take far less.
GPU_MEMORY = 2**30  # bytes


class DeviceError(click.ClickException):
    """There is no such device; a wrong option, so the exit code is click's for one."""

    exit_code = 2


def _find_device(_: click.Context, __: click.Parameter, name: str) -> Device:
    """Find the device before any work is done."""
    import minigrad as mg

    try:
        return mg.device(name, memory=GPU_MEMORY)
    except (ValueError, RuntimeError) as error:
        raise DeviceError(str(error)) from error


def device_option(default: str) -> Any:
    """The option `--device`, a `minigrad.Device` by the time the command begins."""
    return click.option(
        "--device",
        default=default,
        show_default=True,
        callback=_find_device,
        help="cpu, cuda, cuda:N, or auto: the GPU with the most free memory, if any.",
    )


def new_run_option(app: str) -> Any:
    """The option `--run`, for the folder of a new run."""
    return click.option(
        "--run",
        type=FOLDER,
        help=f"Folder for the results.  [default: runs/{app}-TIME]",
    )


def setting_options(settings: Sequence[tuple[str, Any, str]]) -> Any:
    """Options (name, kind, help) whose defaults are those of a recipe."""

    def decorate(command: Any) -> Any:
        for name, kind, text in reversed(settings):
            help_ = f"{text}  [default: the recipe's]"
            command = click.option(f"--{name}", type=kind, help=help_)(command)
        return command

    return decorate


def refuse_settings(context: click.Context) -> None:
    """Make sure that nothing is asked for that a run which goes on cannot heed."""
    given = click.core.ParameterSource.COMMANDLINE
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if name in ("resume", "device", "data") or source != given:
            continue
        raise click.UsageError(
            f"{option.opts[0]} has no effect with --resume: a run goes on with the "
            "settings that it began with. Leave it out, or begin a new run."
        )
