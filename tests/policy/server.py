"""An OpenAI-compatible server of one causal model, by transformers alone, that can be made to fail.

``python -m tests.policy.server MODEL ADAPTER [CERTIFICATE KEY]`` prints its
address when it is ready. ``POST /faults`` with a JSON list of faults has the next
requests meet one each: a status, ``cut``, ``slow``, ``garbled``, ``page``,
``silent`` (no logprobs), ``few`` (an answer is missing), ``elsewhere`` (likely
answers are other ones), or ``fine``. ``GET /asked`` gives the prompts of all
requests since it was asked last.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT = 1024


class CompletionsServer(ThreadingHTTPServer):
    def __init__(self, model: str, adapter: str) -> None:
        super().__init__(("127.0.0.1", 0), CompletionsHandler)
        network = AutoModelForCausalLM.from_pretrained(model, attn_implementation="eager")
        self.network = PeftModel.from_pretrained(network, adapter).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.faults: list[Any] = []
        self.asked: list[list[str]] = []

    def answer(self, index: int, ids: list[int]) -> dict[str, Any]:
        with torch.inference_mode():
            logits = self.network(input_ids=torch.tensor([ids])).logits[0, -1]
        top = logits.log_softmax(-1).topk(5)
        tokens = [self.tokenizer.decode([token]) for token in top.indices.tolist()]
        logprobs = top.values.tolist()
        return {
            "index": index,
            "text": tokens[0],
            "finish_reason": "length",
            "logprobs": {
                "tokens": tokens[:1],
                "token_logprobs": logprobs[:1],
                "top_logprobs": [dict(zip(tokens, logprobs, strict=True))],
                "text_offset": [0],
            },
        }


class CompletionsHandler(BaseHTTPRequestHandler):
    server: CompletionsServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send(200, self.server.asked)
        self.server.asked = []

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/faults":
            self.server.faults = request
            self.send(200, {})
            return
        fault = self.server.faults.pop(0) if self.server.faults else "fine"
        if isinstance(fault, int):
            self.refuse(fault, f"fault with {request['prompt']}")
        elif fault == "cut":
            self.close_connection = True
        elif fault == "garbled":
            self.send_bytes(200, b'{"id": "x", "choi', "application/json")
        elif fault == "page":
            self.send_bytes(200, b"<html>Welcome!</html>", "text/html")
        else:
            if fault == "slow":
                time.sleep(2)
            self.complete(request, fault)

    def complete(self, request: dict[str, Any], fault: str) -> None:
        if self.headers["Authorization"] != f"Bearer {os.environ['SERVER_KEY']}":
            self.refuse(401, "Unauthorized")
            return
        if request["model"] != "gemma-2-9b" or self.path != "/v1/completions":
            self.refuse(404, "no such model")
            return
        wanted = {"max_tokens": 1, "temperature": 0, "logprobs": 5}
        assert {name: request[name] for name in wanted} == wanted
        self.server.asked.append(request["prompt"])
        rows = [self.server.tokenizer(prompt).input_ids for prompt in request["prompt"]]
        if max(map(len, rows)) > CONTEXT:
            self.refuse(400, f"This model's maximum context length is {CONTEXT}: {request}")
            return
        choices = [self.server.answer(n, ids) for n, ids in enumerate(rows)]
        # The API does not define their order.
        choices.reverse()
        if fault == "few":
            choices.pop()
        for choice in choices:
            if fault == "silent":
                choice["logprobs"] = None
            if fault == "elsewhere":
                choice["logprobs"]["top_logprobs"] = [{"the": -0.5, "a": -1.5}]
        count = sum(map(len, rows))
        usage = {"prompt_tokens": count, "completion_tokens": 1, "total_tokens": count + 1}
        self.send(
            200,
            {
                "id": "x",
                "object": "text_completion",
                "created": 0,
                "model": request["model"],
                "choices": choices,
                "usage": usage,
            },
        )

    def refuse(self, status: int, message: str) -> None:
        self.send(status, {"error": {"message": message, "type": "x", "code": status}})

    def send(self, status: int, document: object) -> None:
        self.send_bytes(status, json.dumps(document).encode(), "application/json")

    def send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(model: str, adapter: str, *tls: str) -> None:
    server = CompletionsServer(model, adapter)
    scheme = "http"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    print(f"{scheme}://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
