"""The judge behind an address: CoPE-A on a server with OpenAI's completions API, such as vLLM.

https://platform.openai.com/docs/api-reference/completions: the server tokenizes the prompts,
and adds the model's initial token (``<bos>``).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from consumers.errors import ConfigurationError, PermanentError, TransientError, install_hint
from consumers.policy.cope import prompt
from consumers.policy.logprobs import score
from consumers.policy.tokenizer import SEAM
from consumers.portions import portions

#: The API's maximum of tokens per position.
_LIKELIEST = 5

#: Retries of one request, 0.5 to 8 s apart; the broker's retries cover longer outages.
_RETRIES = 2

#: Statuses worth a retry: timeout, conflict, too early, too many requests.
_TRANSIENT = {408, 409, 425, 429}
_FORBIDDEN = {401, 403}
_UNKNOWN = 404


class EndpointJudge:
    """A model on a server; conforms to `consumers.policy.judge.Judge`."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str | None,
        timeout: float,
        ca_file: Path | None,
        batch_size: int,
        context: int,
        on_batch: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Make a client; it sends no request yet.

        Args:
            url: The API's address, such as ``https://gpu1:8000/v1``.
            model: The name under which the server serves it.
            key: The bearer token; None for a server without.
            timeout: Seconds for each request.
            ca_file: Certificates to trust, in PEM; None for the system's.
            batch_size: The most prompts in one request.
            context: The most tokens of a prompt.
            on_batch: Called after each request with its share of ``batch_size``, from 0 to 1.

        Raises:
            ConfigurationError: The package `openai` is not installed, or the certificates are
                unreadable.
        """
        self._openai = _import_openai()
        self._url = url
        self.model = model
        # The API does not report adapters.
        self.adapter = None
        self.context = context
        self._batch_size = batch_size
        self._on_batch = on_batch
        self._client = self._openai.OpenAI(
            base_url=url,
            # The library requires one; a server without keys ignores it.
            api_key=key or "none",
            timeout=timeout,
            max_retries=_RETRIES,
            http_client=self._openai.DefaultHttpxClient(verify=_certificates(ca_file)),
        )
        self._counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the HTTP client's connections; the server keeps the model loaded."""
        self._client.close()

    def prompt_tokens(self, policy: str) -> int:
        """Have the server count the prompt's tokens without content, once per policy."""
        if policy not in self._counts:
            answer = self._complete([prompt(policy, "")])
            count = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
            if not isinstance(count, int):
                raise ConfigurationError(
                    f"{self._url} (POLICY_ENDPOINT) does not count tokens (usage)"
                )
            self._counts[policy] = count
        return self._counts[policy]

    def content_tokens(self, content: str) -> int:
        """Return the bytes of a content: an upper bound, as no token is shorter than one."""
        return len(content.encode()) + SEAM

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score contents against a policy; see the Protocol."""
        scores: list[float] = []
        for batch in portions(contents, self._batch_size):
            answer = self._complete([prompt(policy, content) for content in batch])
            self._on_batch(len(batch) / self._batch_size)
            scores += map(self._score, self._choices(answer, len(batch)))
        return scores

    def _complete(self, prompts: list[str]) -> Any:
        with self._translated():
            return self._client.completions.create(
                model=self.model,
                prompt=prompts,
                max_tokens=1,
                temperature=0,
                logprobs=_LIKELIEST,
            )

    def _choices(self, answer: Any, count: int) -> list[Any]:
        """Return one answer per prompt, in the prompts' order."""
        choices = getattr(answer, "choices", None)
        if not isinstance(choices, list):
            raise PermanentError(
                f"{self._url} (POLICY_ENDPOINT) does not answer as OpenAI's completions API does"
            )
        by_index = {choice.index: choice for choice in choices}
        if len(choices) != count or by_index.keys() != set(range(count)):
            raise PermanentError(
                f"{self._url} (POLICY_ENDPOINT) returned {len(choices)} answers to {count} prompts"
            )
        return [by_index[n] for n in range(count)]

    def _score(self, choice: Any) -> float:
        positions = getattr(getattr(choice, "logprobs", None), "top_logprobs", None)
        if not positions or not isinstance(positions[0], Mapping):
            raise ConfigurationError(
                f"{self._url} (POLICY_ENDPOINT) returns no probabilities (logprobs)"
            )
        return score(positions[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate openai's errors.

        The server's text, which can quote the prompt, is left out of messages and causes.

        Raises:
            TransientError: The server is unreachable, slow, busy or broken.
            PermanentError: It refuses the request.
        """
        try:
            yield
        except self._openai.APITimeoutError as exc:
            raise TransientError(
                f"{self._url} (POLICY_ENDPOINT) did not answer in time (POLICY_ENDPOINT_TIMEOUT)"
            ) from exc
        except self._openai.APIConnectionError as exc:
            reason = exc.__cause__ or exc
            raise TransientError(f"{self._url} (POLICY_ENDPOINT) is unreachable: {reason}") from exc
        except self._openai.APIStatusError as exc:
            raise self._refusal(exc.status_code) from None
        except (self._openai.OpenAIError, ValueError):
            raise TransientError(
                f"the answer of {self._url} (POLICY_ENDPOINT) is invalid"
            ) from None

    def _refusal(self, status: int) -> TransientError | PermanentError | ConfigurationError:
        server = f"{self._url} (POLICY_ENDPOINT)"
        if status >= 500 or status in _TRANSIENT:  # noqa: PLR2004
            return TransientError(f"{server} is busy or broken: it answers {status}")
        if status in _FORBIDDEN:
            return ConfigurationError(f"{server} refuses the key (POLICY_ENDPOINT_KEY): {status}")
        if status == _UNKNOWN:
            return ConfigurationError(
                f"{server} serves no model {self.model!r} (POLICY_ENDPOINT_MODEL), or is not an "
                f"API: it answers {status}; the address usually ends in /v1"
            )
        return PermanentError(
            f"{server} refuses the request: it answers {status} (does POLICY_CONTEXT, "
            f"{self.context}, exceed the server's limit?)"
        )


def _import_openai() -> ModuleType:
    try:
        openai = import_module("openai")
    except ImportError as exc:
        raise ConfigurationError(
            f"a judge at POLICY_ENDPOINT needs the package openai, which cannot be imported "
            f"({exc}): {install_hint('endpoint')}"
        ) from exc
    # At debug level it logs whole requests, which are transcripts.
    logging.getLogger("openai").setLevel(logging.WARNING)
    return openai


def _certificates(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot read the certificates in {ca_file} (POLICY_ENDPOINT_CA_FILE): {exc}"
        ) from exc
