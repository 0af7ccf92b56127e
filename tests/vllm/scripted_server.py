"""A server that answers as vLLM's does, from a script: what a test wants to see refused, failing or late."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lit_rlvr.rollout.vllm.server.process import free_port

CONFIG: dict[str, Any] = {
    "device_config": {"device": "cpu"},
    "scheduler_config": {"enable_chunked_prefill": False},
    "model_config": {"logprobs_mode": "processed_logprobs", "dtype": "torch.float32", "max_model_len": 64},
    "parallel_config": {"world_size": 1, "worker_extension_cls": "lit_rlvr.rollout.vllm.sync.worker.WorkerExtension"},
}
ACKNOWLEDGED = (
    "/pause",
    "/resume",
    "/reset_prefix_cache",
    "/init_weight_transfer_engine",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
)


class ScriptedServer:
    """Tokens are a function of the seed; everything else a test may set while it runs."""

    def __init__(self, port: int = 0) -> None:
        self.version = "0.32.0"
        self.config: dict[str, Any] = json.loads(json.dumps(CONFIG))
        self.label = "default"
        self.delay_s = 0.0
        self.logprob = -1.0
        self.fails = False
        self.refuses_scale_out = False
        self.world_size = 1
        self.num_generated = 0
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.most_at_once = 0
        self.running = 0
        self._lock = threading.Lock()
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script.answer(self, {})

            def do_POST(self) -> None:
                script.answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

            def log_message(self, *_: object) -> None:
                return

        self.port = port or free_port()
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        path = handler.path.split("?")[0]
        self.heard.append((path, body))
        status, answer = 200, {}
        if path == "/version":
            answer = {"version": self.version}
        elif path == "/server_info":
            answer = {"vllm_config": self.config}
        elif path == "/weight_info":
            answer = {"weight_version": self.label}
        elif path == "/inference/v1/abort_requests":
            status = 403 if self.refuses_scale_out else 200
        elif path == "/inference/v1/generate":
            status, answer = self.generate(body)
        elif path == "/get_world_size":
            answer = {"world_size": self.world_size}
        elif path in ACKNOWLEDGED:
            answer = {"success": True}
        else:
            status = 404
        data = json.dumps(answer).encode()
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        except OSError:
            return

    def generate(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        time.sleep(self.delay_s)
        with self._lock:
            self.running -= 1
            self.num_generated += 1
        if self.fails:
            return 500, {"error": "the engine is dead"}
        seed = body["sampling_params"]["seed"]
        content = [{"token_id": token, "logprob": self.logprob} for token in (seed % 7, seed % 5)]
        choice = {
            "finish_reason": "length",
            "token_ids": [entry["token_id"] for entry in content],
            "weight_versions": [{"version": self.label, "start": 0, "end": 2}],
            "logprobs": {"content": content},
        }
        return 200, {"choices": [choice], "usage": {"prompt_tokens_details": {"cached_tokens": 0}}}

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
