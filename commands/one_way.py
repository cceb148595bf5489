"""Both ends of a one-way link on the command line: where a sensor sends, and `fenghuo console receive`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from commands import complain
from commands.size import Size

if TYPE_CHECKING:
    from sensor.one_way.sender import OneWayOptions

F = TypeVar("F", bound=Callable[..., Any])
MAX_COPIES = 10


class Endpoint(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """HOST:PORT, with brackets around an IPv6 address."""

    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        host, colon, port = str(value).strip().rpartition(":")
        if not colon or not host.strip("[]") or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value!r} is no HOST:PORT, such as 10.0.0.7:8700 or [fd00::7]:8700", param, ctx)
        return host.strip("[]"), int(port)


def ONE_WAY(command: F) -> F:  # noqa: N802  (a decorator among options that are written so)
    """--one-way and what belongs to it, as one argument `one_way`."""

    def gathered(
        *args: Any, one_way: tuple[str, int] | None, one_way_copies: int, one_way_rate: int, **rest: Any
    ) -> Any:
        from sensor.one_way.sender import OneWayOptions

        chosen: OneWayOptions | None = None
        if one_way is not None:
            chosen = OneWayOptions(*one_way, copies=one_way_copies, bits_per_second=one_way_rate)
        return command(*args, one_way=chosen, **rest)

    gathered.__name__, gathered.__doc__ = command.__name__, command.__doc__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("--one-way-rate", type=Size(), default="10M", show_default=True, help="Bits a second at most."),
        click.option(
            "--one-way-copies",
            type=click.IntRange(1, MAX_COPIES),
            default=2,
            show_default=True,
            help="How often each finding is sent.",
        ),
        click.option(
            "--one-way",
            type=Endpoint(),
            help="Send over a data diode instead, to `fenghuo console receive`; see docs/spool.md.",
        ),
    ):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


@click.command("receive")
@click.option("--listen", type=Endpoint(), required=True, help="Where the datagrams of the diode arrive.")
@click.option("--console", "url", required=True, metavar="URL", help="Address of the console.")
@click.option(
    "--key-file",
    "key_files",
    type=click.File(),
    multiple=True,
    required=True,
    help="File with the key of a sensor behind the diode; repeat for each.",
)
@click.option("--spool", default="one-way-spool", show_default=True, metavar="DIR", help="Where findings wait.")
@click.option("--spool-quota", type=Size(), default="2G", show_default=True, help="What each sensor's may need there.")
def receive(listen: tuple[str, int], url: str, key_files: tuple[Any, ...], spool: str, spool_quota: int) -> None:
    """Receive what sensors send over a data diode, and hand it to the console in their name.

    What redundancy could not mend is told exactly: as a finding, and on the sensor's page. Until Ctrl-C.
    """
    import logging
    import signal
    import threading

    from detectors.losses import loss_line
    from sensor.one_way.receiver import Receiver
    from sensor.spool import SpoolError
    from sensor.uplink import UplinkError, checked_key

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        keys = [checked_key(file.read()) for file in key_files]
        receiver = Receiver(listen, url, keys, Path(spool), loss_line, spool_quota)
        complain(f"receiving on {listen[0]}:{receiver.port} for {len(receiver.sources)} sensors")
        receiver.run(stop)
    except (SpoolError, UplinkError) as error:
        complain(error)
        sys.exit(2)
    except OSError as error:
        complain(f"{listen[0]}:{listen[1]} cannot be listened on: {error.strerror}")
        sys.exit(2)
