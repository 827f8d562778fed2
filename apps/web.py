"""Requests with a deadline, to servers that are slow, silent, endless or wrong.

Every read of a status, a header or a body is held to the deadline, which only bytes of
the file move on. What goes wrong becomes one of three errors: another request may help
(`BrokenOffError`), what is here no longer fits (`ChangedError`), or nothing helps.

Source: RFC 9110, HTTP Semantics (2022), section 15 (status codes).
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from apps.errors import UserError

# What a server says when asking again may help; anything else is final.
PASSING_TROUBLE = {408, 425, 429, 500, 502, 503, 504}
# What it may say because the request was to go on with a file, and for no other reason.
CANNOT_GO_ON = {400, 412, 416, 417, 431, 501}

MOST_WORDS = 80  # letters of a server's own words that are told


class DownloadError(UserError, RuntimeError):
    """A data set cannot be had: the server, the archive or the disk is at fault."""


class BrokenOffError(Exception):
    """The connection failed; another request may well succeed."""


class ChangedError(Exception):
    """What is here is the beginning of something that the server no longer has."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask again.

    `timeout` is the longest silence. Within each `window` a request must bring `least`
    bytes of the file, or its rest; a whole file may take `total`. Units: seconds.
    `tries` transfers in a row may end early; one that came a hundredth of the file
    farther than any before it counts afresh.
    """

    timeout: float = 30.0
    tries: int = 6
    wait: Callable[[float], None] = time.sleep
    window: float = 60.0
    least: int = 60_000
    total: float = 24 * 3600.0
    clock: Callable[[], float] = time.monotonic


class Deadline:
    """When a request must have brought more of the file."""

    def __init__(self, patience: Patience, end: float) -> None:
        self._patience, self._end = patience, end
        self.timeout = patience.timeout
        self._move_on()

    def _move_on(self) -> None:
        self._came = 0
        self._until = min(self._patience.clock() + self._patience.window, self._end)

    def more(self, count: int) -> None:
        """Take note of more bytes of the file."""
        self._came += count
        if self._came >= self._patience.least:
            self._move_on()

    def check(self) -> None:
        """Raise: BrokenOffError if it is past."""
        if self._patience.clock() >= self._until:
            raise BrokenOffError(
                f"the server brought less than {self._patience.least:,} bytes of it in "
                f"{self._patience.window:g} seconds"
            )


class _Answer(http.client.HTTPResponse):
    """An answer whose every read is held to a deadline, those of its head included."""

    def __init__(self, *arguments: Any, deadline: Deadline, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        raw = self.fp.raw  # whose `readinto` is looked up at each read
        read = raw.readinto

        def readinto(buffer: Any) -> int | None:
            deadline.check()
            return read(buffer)

        raw.readinto = readinto  # type: ignore[method-assign]


class _Watching(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, req: Any, **settings: Any) -> Any:
        def connection(*arguments: Any, **options: Any) -> Any:
            made = http_class(*arguments, **options)
            made.response_class = partial(_Answer, deadline=self._deadline)
            return made

        return super().do_open(connection, req, **settings)


def ask(
    url: str, headers: Mapping[str, str], deadline: Deadline
) -> http.client.HTTPResponse:
    """Ask for what is at an address; give the answer, of which the head is read.

    Raises: as `network` does.
    """
    opener = urllib.request.OpenerDirector()
    # No others: nobody may send us on to a file, or to a server of another kind.
    for handler in (
        urllib.request.ProxyHandler(),
        _Watching(deadline),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers=dict(headers))
    with network(url, goes_on="Range" in headers):
        answer = opener.open(request, timeout=deadline.timeout)
    if answer.status not in (200, 206):
        answer.close()
        raise BrokenOffError(f"the server answers {answer.status}, without the file")
    return answer


def read(answer: http.client.HTTPResponse, url: str, most: int) -> bytes:
    """Read what has come of an answer. Raises: as `network` does."""
    # read would wait for all of it, and lose it if the connection broke meanwhile.
    with network(url):
        return answer.read1(most)


@contextmanager
def network(url: str, goes_on: bool = False) -> Iterator[None]:
    """Tell trouble that may pass from trouble that will not.

    Raises: ChangedError if the server cannot go on with a file, BrokenOffError,
    DownloadError.
    """
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(url, error, goes_on) from error
    except TimeoutError as error:
        raise BrokenOffError("the server fell silent") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{url}: another server answers ({_words(error.reason)}). Check this "
                "machine's clock and certificates, and whether a proxy has its own."
            ) from error
        raise BrokenOffError(f"no connection ({_words(error.reason)})") from error
    except (OSError, http.client.HTTPException) as error:
        raise BrokenOffError(f"the transfer broke off ({_words(error)})") from error
    except ValueError as error:  # of an address that it sends us on to
        raise DownloadError(
            f"{url}: the server sends us to an address that is none ({_words(error)}). "
            "Look at the first address in a browser: the file may have moved."
        ) from error


def _refusal(url: str, error: urllib.error.HTTPError, goes_on: bool) -> Exception:
    if goes_on and error.code in CANNOT_GO_ON:
        return ChangedError()
    said = f"the server answers {error.code} ({_words(error.reason)})"
    if error.code in PASSING_TROUBLE:
        return BrokenOffError(said)
    if 300 <= error.code < 400:
        said = "the server sends us from address to address without end"
    return DownloadError(
        f"{url}: {said}, so it does not give the file. Look at the address in a "
        "browser: it may have moved."
    )


def _words(said: object) -> str:
    words = " ".join(str(said).split()) or type(said).__name__
    return words if len(words) <= MOST_WORDS else words[: MOST_WORDS - 1] + "…"
