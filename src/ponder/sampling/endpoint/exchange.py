"""One HTTP exchange with a server of models: a bounded answer in a bounded time, and failures sorted by who can mend
them."""

from __future__ import annotations

import email.utils
import json
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from ponder.core.errors import PonderError

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 64 << 20  # of one answer: a hundred thoughts of 100,000 tokens
CONNECT_S = 10.0
LONGEST_WAIT_S = 300.0
"""The most that a Retry-After is obeyed for; who asks for more is asked again after this."""

FOR_ONE = {400, 413, 422}
"""Codes that speak of one request, not of the endpoint."""

NO_MONEY = ("insufficient_quota", "insufficient balance", "insufficient credits", "billing")


class Trouble(Exception):
    """A failure that may pass. after_s: how long the server asked to be left alone. reached: whether it answered."""

    def __init__(self, message: str, after_s: float | None = None, reached: bool = True) -> None:
        super().__init__(message)
        self.after_s, self.reached = after_s, reached


class Refused(Exception):
    """This one request was refused for what is in it."""


class InBand(Exception):
    """An error that came with status 200; `code` is the status that it should have had."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Exchange:
    """A client of one endpoint; thread-safe. The key is sent, and is in no message, repr or file."""

    def __init__(self, base_url: str, model: str, key: str | None, key_env: str, timeout_s: float) -> None:
        self.base_url, self.query = _address(base_url)
        self.model, self.key_env, self.timeout_s = model, key_env, timeout_s
        self._key = key
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    @property
    def shown(self) -> str:
        """The address without what may be secret in it (a user, a password, a query)."""
        parts = urllib.parse.urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def open(self) -> httpx.Client:
        """The client, which all threads share."""
        with self._lock:
            if self._client is None:
                import httpx

                headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
                # Certificates take a tenth of a second to read, and are of no use without TLS.
                verify = self.base_url.startswith("https")
                self._client = httpx.Client(headers=headers, limits=limits, follow_redirects=False, verify=verify)
            return self._client

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def post(self, path: str, body: Any) -> str:
        """The text of the answer to `body`, sent as JSON.

        Raises:
            Trouble: no answer, or one that asks for another try (429, 5xx).
            Refused: this request is too large or has a field that the server does not take.
            PonderError: what no other try can mend: the key, the model, the address.
        """
        import httpx

        client = self.open()
        deadline = time.monotonic() + self.timeout_s
        limit = httpx.Timeout(self.timeout_s, connect=min(CONNECT_S, self.timeout_s))
        url, shown = f"{self.base_url}{path}{self.query}", f"{self.shown}{path}"
        chunks, size = [], 0
        try:
            with client.stream("POST", url, json=body, timeout=limit) as response:
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise Trouble(f"{shown} answered with more than {MOST_BYTES >> 20} MiB")
                    if time.monotonic() > deadline:
                        raise Trouble(f"{shown} had not finished its answer after {self.timeout_s:g} s")
        except httpx.TimeoutException as error:
            reached = not isinstance(error, httpx.ConnectTimeout)
            raise Trouble(f"{shown} gave no answer in {self.timeout_s:g} s", reached=reached) from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise PonderError(f"{shown} is no address ({error}); write it as http://host:port/v1") from error
        except httpx.HTTPError as error:
            told = self._safe(str(error) or type(error).__name__)
            raise Trouble(
                f"{shown} could not be asked ({told})", reached=not isinstance(error, httpx.ConnectError)
            ) from error
        text = b"".join(chunks).decode("utf-8", "replace")
        if not response.is_success:
            self.judge(path, response.status_code, text, response.headers.get("Retry-After"))
        return text

    def judge(self, path: str, code: int, text: str, retry_after: str | None = None) -> None:
        """Raise what `post` documents for an error of the server, told by status or inside an answer."""
        shown = f"{self.shown}{path}"
        told = f"{shown} answered {code}: {self._safe(said(text))}"
        if code in (401, 403):
            where = f"the environment variable {self.key_env}"
            raise PonderError(f"{told}; put a valid key in {where}" + ("" if self._key else " (it is empty)"))
        if code == 402 or (code == 429 and any(words in text.lower() for words in NO_MONEY)):
            raise PonderError(f"{told}; the account has run out: top it up and run the same command again")
        if code in (404, 405, 410) or 300 <= code < 400:
            raise PonderError(f"{told}; is {self.model!r} a model of this server, and does its address end in /v1?")
        if code in FOR_ONE:
            raise Refused(told)
        raise Trouble(told, wait_asked_for(retry_after))

    def _safe(self, text: str) -> str:
        """`text` without the key, which some servers repeat."""
        return text.replace(self._key, "***") if self._key else text


def _address(base_url: str) -> tuple[str, str]:
    """The address up to /v1, and its query ("" or "?..."), which some services want on every request."""
    address, _, query = base_url.strip().partition("?")
    address = address.rstrip("/")
    for path in ("/chat/completions", "/completions"):
        address = address.removesuffix(path)
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise PonderError(f"endpoint {base_url!r} is no address; write it as http://host:port/v1")
    return address, f"?{query}" if query else ""


def said(text: str) -> str:
    """The message inside an error's body, on one line."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return " ".join(str(value).split())[:300] or "nothing"


def wait_asked_for(header: str | None, now: float | None = None) -> float | None:
    """A Retry-After in seconds, given as such or as a date; None for nonsense. At most `LONGEST_WAIT_S`."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now)
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S) if seconds == seconds else None
