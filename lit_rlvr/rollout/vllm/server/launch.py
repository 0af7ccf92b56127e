"""From settings to servers that answer: those launched here, and those found by address."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from lit_rlvr.rollout.vllm.server.client import ServerClient, ServerFacts
from lit_rlvr.rollout.vllm.server.command import LaunchSettings, server_command, server_environment
from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.rollout.vllm.server.pool import Server
from lit_rlvr.rollout.vllm.server.process import ServerProcess, free_port, is_port_free
from lit_rlvr.rollout.vllm.server.settings import ServerSettings

WRONG_ARGUMENTS = 2
"""Exit code of a program that does not understand its command line: another start would not help."""
MAX_STARTS = 2
"""How often a server is started at the beginning of a run; later its caretaker decides."""

_logger = logging.getLogger(__name__)


def launch(
    servers: list[Server], common: LaunchSettings, settings: ServerSettings, log_folder: Path, folders: Sequence[str]
) -> None:
    """Start servers on this machine; they answer later.

    Args:
        servers: each is added as soon as it runs.
        common: what they have in common.
        settings: how many, at which ports, on which GPUs.
        log_folder: where their output goes.
        folders: to be removed by whoever survives this process.

    Raises:
        ImportError: vLLM is not installed.
        ValueError: somebody listens on a port.
    """
    if find_spec("vllm") is None:
        raise ImportError(
            "data.engine.init_args.launch: vLLM is not installed here: pip install 'lit_rlvr[vllm]', or give the urls of servers"
        )
    ports: list[int] = []
    for number in range(settings.num_servers):
        ports.append(settings.first_port + number if settings.first_port else free_port(ports))
        if not is_port_free(ports[-1]):
            raise ValueError(
                f"data.engine.init_args.first_port: somebody listens on port {ports[-1]} of this machine; choose another, or 0"
            )
        environment = server_environment(common, settings.devices[number] if settings.devices is not None else None)
        log = log_folder / f"vllm-server-{number}.log"
        process = ServerProcess(server_command(common, ports[-1]), environment, log, folders)
        client = ServerClient(f"http://127.0.0.1:{ports[-1]}", common.api_key, settings.request_timeout_s)
        servers.append(Server(client, process))
        process.start()


def wait_until_up(servers: Sequence[Server], startup_timeout_s: float) -> list[ServerFacts]:
    """Wait for servers that were launched, and return what they are.

    Raises:
        RuntimeError: one of them ended, or did not answer in time.
    """
    deadline = time.monotonic() + startup_timeout_s
    return [_facts_once_up(server, deadline, startup_timeout_s) for server in servers]


def contact(servers: Sequence[Server]) -> list[ServerFacts]:
    """Return what the servers at given addresses are; those that do not answer are left out, with a warning.

    Raises:
        ValueError: an address leads to something else than a server for this engine.
        PermissionError: a server refused the key.
        RuntimeError: none of them answers.
    """

    def facts_or_failure(server: Server) -> ServerFacts | ServerFailed:
        try:
            return server.client.facts()
        except ServerFailed as error:
            return error

    with ThreadPoolExecutor(len(servers)) as threads:
        answers = list(threads.map(facts_or_failure, servers))
    problems = [f"{s.url} ({a})" for s, a in zip(servers, answers, strict=True) if isinstance(a, ServerFailed)]
    found = [answer for answer in answers if isinstance(answer, ServerFacts)]
    if not found:
        raise RuntimeError(f"no vLLM server answers: {', '.join(problems)}; see data.engine.init_args.urls")
    for problem in problems:
        _logger.warning("vLLM server down, going on without it until it answers: %s", problem)
    return found


def _facts_once_up(server: Server, deadline: float, startup_timeout_s: float) -> ServerFacts:
    process = server.process
    assert process is not None
    while True:
        if not process.is_alive():
            if process.exit_code == WRONG_ARGUMENTS or process.num_starts >= MAX_STARTS:
                raise RuntimeError(
                    f"vLLM server {server.url} ended while it was starting (exit code {process.exit_code}, "
                    f"{process.num_starts} starts). Its log {process.log_path} ends with\n{process.log_tail()}"
                )
            _logger.warning("vLLM server %s ended while it was starting; starting it again", server.url)
            process.start()
        try:
            return server.client.facts()
        except ServerFailed as error:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"vLLM server {server.url} did not answer within startup_timeout_s={startup_timeout_s:g} s ({error}). "
                    f"Its log {process.log_path} ends with\n{process.log_tail()}"
                ) from None
        time.sleep(0.5)
