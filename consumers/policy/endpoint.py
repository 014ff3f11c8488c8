"""The judge behind an address: CoPE-A on a server of OpenAI's completions API, such as vLLM.

https://platform.openai.com/docs/api-reference/completions: the server makes
tokens of the prompts itself, and puts before them what the model wants (``<bos>``).
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

from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.policy.cope import prompt
from consumers.policy.logprobs import score
from consumers.policy.tokenizer import SEAM

#: The most that the API tells of a position.
_LIKELIEST = 5

#: Further tries of one request, 0.5 to 8 s apart; what lasts longer is the broker's to repeat.
_RETRIES = 2

#: Answers that another try can change: timeout, conflict, too early, too many.
_PASSING = {408, 409, 425, 429}
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
        """Make a client; nothing is asked yet.

        Args:
            url: The API's address, such as ``https://gpu1:8000/v1``.
            model: The name under which the server serves it.
            key: What it is asked for as a bearer token; None for a server without.
            timeout: Seconds for an answer to one request.
            ca_file: Certificates that vouch for the server's, in PEM; None for the system's.
            batch_size: The most prompts in one request.
            context: The most tokens of a prompt.
            on_batch: Called after each request with its share of ``batch_size``, from 0 to 1.

        Raises:
            ConfigurationError: The package `openai` is not installed, or the certificates can't
                be read.
        """
        self._openai = _import_openai()
        self._url = url
        self._model = model
        self._batch_size = batch_size
        self._context = context
        self._on_batch = on_batch
        self._client = self._openai.OpenAI(
            base_url=url,
            # It wants one; a server that wants none does not look at it.
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
        """Close its connections."""
        self._client.close()

    @property
    def model(self) -> str:
        """The name under which the server serves it."""
        return self._model

    @property
    def adapter(self) -> None:
        """Nothing tells whether the server has merged one."""
        return

    @property
    def context(self) -> int:
        """Tokens that a prompt may have."""
        return self._context

    def prompt_tokens(self, policy: str) -> int:
        """Have the server count the prompt with this policy and without content, once."""
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
        """Give the most tokens that a content can add: its bytes, as no token is less than one."""
        return len(content.encode()) + SEAM

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score contents against a policy; see the Protocol."""
        scores: list[float] = []
        for start in range(0, len(contents), self._batch_size):
            batch = contents[start : start + self._batch_size]
            answer = self._complete([prompt(policy, content) for content in batch])
            self._on_batch(len(batch) / self._batch_size)
            scores += map(self._score, self._choices(answer, len(batch)))
        return scores

    def _complete(self, prompts: list[str]) -> Any:
        with self._translated():
            return self._client.completions.create(
                model=self._model,
                prompt=prompts,
                max_tokens=1,
                temperature=0,
                logprobs=_LIKELIEST,
            )

    def _choices(self, answer: Any, count: int) -> list[Any]:
        """One answer per prompt, in the prompts' order, whatever order they came in."""
        choices = getattr(answer, "choices", None)
        if not isinstance(choices, list):
            raise PermanentError(
                f"what {self._url} (POLICY_ENDPOINT) answers is not OpenAI's completions API"
            )
        by_index = {choice.index: choice for choice in choices}
        if len(choices) != count or by_index.keys() != set(range(count)):
            raise PermanentError(
                f"{self._url} (POLICY_ENDPOINT) gives {len(choices)} answers to {count} prompts"
            )
        return [by_index[n] for n in range(count)]

    def _score(self, choice: Any) -> float:
        positions = getattr(getattr(choice, "logprobs", None), "top_logprobs", None)
        if not positions or not isinstance(positions[0], Mapping):
            raise ConfigurationError(
                f"{self._url} (POLICY_ENDPOINT) does not tell how likely its answers are (logprobs)"
            )
        return score(positions[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn openai's errors into the kinds that the consumers know.

        What the server says is left out of messages and causes: it can quote the prompt.

        Raises:
            TransientError: The server is away, slow, busy or broken.
            PermanentError: It refuses.
        """
        try:
            yield
        except self._openai.APITimeoutError as exc:
            raise TransientError(
                f"{self._url} (POLICY_ENDPOINT) did not answer in time (POLICY_ENDPOINT_TIMEOUT)"
            ) from exc
        except self._openai.APIConnectionError as exc:
            reason = exc.__cause__ or exc
            raise TransientError(
                f"{self._url} (POLICY_ENDPOINT) can't be reached: {reason}"
            ) from exc
        except self._openai.APIStatusError as exc:
            raise self._refusal(exc.status_code) from None
        except (self._openai.OpenAIError, ValueError):
            raise TransientError(
                f"what {self._url} (POLICY_ENDPOINT) answers can't be read"
            ) from None

    def _refusal(self, status: int) -> TransientError | PermanentError | ConfigurationError:
        server = f"{self._url} (POLICY_ENDPOINT)"
        if status >= 500 or status in _PASSING:  # noqa: PLR2004
            return TransientError(f"{server} is busy or broken: it answers {status}")
        if status in _FORBIDDEN:
            return ConfigurationError(f"{server} refuses the key (POLICY_ENDPOINT_KEY): {status}")
        if status == _UNKNOWN:
            return ConfigurationError(
                f"{server} serves no model {self._model!r} (POLICY_ENDPOINT_MODEL), or is no API: "
                f"it answers {status}, and its address ends in /v1 as a rule"
            )
        return PermanentError(
            f"{server} refuses the request: it answers {status} (is POLICY_CONTEXT, "
            f"{self._context}, more than the model takes there?)"
        )


def _import_openai() -> ModuleType:
    try:
        openai = import_module("openai")
    except ImportError as exc:
        raise ConfigurationError(
            f"a judge at POLICY_ENDPOINT needs the package openai, and it cannot be imported "
            f"({exc}): pip install 'dropscribe[endpoint]'"
        ) from exc
    # At the level of debugging it logs whole requests, and these are transcripts.
    logging.getLogger("openai").setLevel(logging.WARNING)
    return openai


def _certificates(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ConfigurationError(
            f"the certificates in {ca_file} (POLICY_ENDPOINT_CA_FILE) can't be read: {exc}"
        ) from exc
