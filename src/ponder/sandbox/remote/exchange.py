"""One HTTP exchange with an endpoint: a bounded answer in a bounded time, and failures sorted by who can mend them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ponder.core.errors import PonderError

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 16 << 20  # of an answer; services cut a program's output long before
CONNECT_S = 5.0
WORTH_RETRYING = {408, 409, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 529}


class Trouble(Exception):
    """The endpoint failed in a way that may pass; `after_s` is how long it asked to be left alone."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Unanswerable(Exception):
    """This one request cannot be served (too large), whoever is asked; others can."""


class Exchange:
    """A client for one set of headers. Thread-safe, and safe to use on both sides of a fork."""

    def __init__(self, headers: Mapping[str, str], key_env: str) -> None:
        self.headers = dict(headers)
        self.key_env = key_env
        self._client: httpx.Client | None = None
        self._owner = 0

    def _open(self) -> httpx.Client:
        """The client of this process: connections must not be shared over a fork."""
        if self._client is None or self._owner != os.getpid():
            import httpx

            limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
            self._client, self._owner = httpx.Client(limits=limits, follow_redirects=False), os.getpid()
        return self._client

    def close(self) -> None:
        """Close this process's connections."""
        if self._client is not None and self._owner == os.getpid():
            self._client.close()
        self._client = None

    def ask(
        self, method: str, url: str, body: Any = None, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> str:
        """The text of the answer.

        Args:
            method, url, body: `body` is sent as JSON where given.
            timeout_s: seconds for the whole exchange, however slowly the answer drips.
            headers: beside the client's own.
        Raises:
            Trouble: no answer, or one that asks for another try (429, 5xx).
            Unanswerable: 413.
            PonderError: any other refusal: the endpoint, what it said, and the remedy.
        """
        import httpx

        deadline = time.monotonic() + timeout_s
        content = None if body is None else json.dumps(body).encode()
        sent = {**self.headers, **(headers or {}), **({} if content is None else {"Content-Type": "application/json"})}
        limit = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        try:
            with self._open().stream(method, url, content=content, headers=sent, timeout=limit) as response:
                chunks, size = [], 0
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise Trouble(f"{url} answered with more than {MOST_BYTES >> 20} MiB")
                    if time.monotonic() > deadline:
                        raise Trouble(f"{url} had not finished its answer after {timeout_s:g} s")
        except httpx.TimeoutException as error:
            raise Trouble(f"{url} gave no answer in {timeout_s:g} s ({type(error).__name__})") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise PonderError(f"{url} is no address ({error}); write it as http://host:port") from error
        except httpx.HTTPError as error:
            raise Trouble(f"{url} could not be asked ({error or type(error).__name__})") from error
        text = b"".join(chunks).decode("utf-8", "replace")
        self._judge(url, response, text, 0 if content is None else len(content))
        return text

    def _judge(self, url: str, response: httpx.Response, text: str, sent_bytes: int) -> None:
        """Raise what `ask` documents for an answer that is none."""
        code, said = response.status_code, " ".join(text.split())[:300]
        if response.is_success:
            return
        if code in WORTH_RETRYING:
            raise Trouble(f"{url} answered {code}: {said}", _seconds(response.headers.get("Retry-After")))
        if code == 413 or (code == 400 and "too large" in text.lower()):
            raise Unanswerable(f"{url} refuses a request of {sent_bytes} bytes ({code}); raise its limit on bodies")
        if code in (401, 403):
            raise PonderError(
                f"{url} answered {code}: {said}; put a valid key in the environment variable {self.key_env}"
            )
        if code in (404, 405) or 300 <= code < 400:
            raise PonderError(f"{url} answered {code}; is this the address of the right service, without a path?")
        raise PonderError(f"{url} answered {code}: {said}")


def _seconds(header: str | None) -> float | None:
    """A Retry-After in seconds; a date or nonsense is none."""
    try:
        return min(max(float(header or ""), 0.0), 60.0)
    except ValueError:
        return None


def read_json(url: str, text: str) -> dict[str, Any]:
    """The object in an answer. Raises Trouble where it is cut short or is something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Trouble(f"{url} answered what is not JSON ({error}): {text[:80]!r}") from error
    if not isinstance(value, dict):
        raise Trouble(f"{url} answered JSON that is no object: {text[:80]!r}")
    return value
