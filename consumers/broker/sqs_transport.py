"""kombu's SQS transport, made safe against messages that kombu did not write."""

from __future__ import annotations

from typing import Any

from kombu.transport import SQS, virtual

from consumers.network.aws import make_client


class SqsChannel(SQS.Channel):  # type: ignore[misc]
    """A channel that delivers any message.

    kombu takes a JSON object with ``properties`` for an envelope of its own. If it is not
    one, reading it raises within ``drain_events``: the message would stay, and crash
    every consumer.
    """

    # The inbox gives unsettled messages back; kombu could only restore its own.
    do_restore = False

    def new_sqs_client(
        self,
        region: str,
        access_key_id: str | None,
        secret_access_key: str | None,
        session_token: None = None,
    ) -> Any:
        """Make botocore's client as elsewhere; kombu's own takes no certificate authority."""
        del session_token
        return make_client(
            "sqs",
            endpoint=self.endpoint_url,
            access_key=access_key_id,
            secret_key=secret_access_key,
            region=region,
            ca_file=self.transport_options["ca_file"],
        )

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Any:
        try:
            payload = super()._message_to_python(message, queue_name, q_url)
            # kombu's next step, tried here where its error can be caught.
            parsed = virtual.Message(payload, channel=self)
            is_sound = isinstance(parsed.body, str | bytes) and isinstance(parsed.headers, dict)
        except Exception:
            is_sound = False
            payload = None
        if is_sound:
            return payload
        raw = message["Body"]
        text = raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw
        return self._envelope_payload({}, text, message, q_url)


class SqsTransport(SQS.Transport):  # type: ignore[misc]
    """The transport of `SqsChannel`."""

    Channel = SqsChannel
