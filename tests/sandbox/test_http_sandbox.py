import http.client
import json
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lit_rlvr.sandbox import HTTPSandbox, Job, Limits, LocalSandbox, SandboxUnavailable, remote_server

TOKEN = secrets.token_urlsafe(32)
LIMITS = Limits(cpu_s=2, wall_s=6, memory_mb=256)
DOUBLE = "print(2 * int(input()))"


@dataclass
class Server:
    """A server process on loopback."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN + "\n")
    return path


SERVE = "import sys; from lit_rlvr.sandbox.server import serve; serve(sys.argv[1:])"
"""What `lit-rlvr sandbox serve` runs, without the start of the command line."""


def started(token_file: Path, *options: str, port: int = 0) -> Server:
    command = [sys.executable, "-c", SERVE, f"--port={port}", f"--token_file={token_file}", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("serving programs on "):
            return Server(line.split()[-1], process)
    raise AssertionError("".join(said))


@pytest.fixture(scope="module")
def server(token_file: Path) -> Iterator[Server]:
    """One server for all tests that leave it alive."""
    server = started(token_file, "--num_workers=2", "--max_cpu_s=1.5", "--max_wall_s=5", "--max_request_mb=4")
    yield server
    server.kill()


@pytest.fixture
def start_server(token_file: Path) -> Iterator[StartServer]:
    """Start servers that a test may kill."""
    servers: list[Server] = []

    def start(*options: str, port: int = 0) -> Server:
        servers.append(started(token_file, "--num_workers=1", *options, port=port))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGCONT)
            server.kill()


@pytest.fixture
def sandbox(server: Server, token_file: Path) -> Iterator[HTTPSandbox]:
    sandbox = HTTPSandbox([server.url], str(token_file))
    yield sandbox
    sandbox.close()


def test_outcomes_are_those_of_the_sandbox_behind(sandbox: HTTPSandbox) -> None:
    jobs = [
        Job(DOUBLE, b"21\n"),
        Job("import os\nos.write(1, os.read(0, 100)[::-1])", bytes(range(256))[150:]),
        Job("raise ValueError('ü')"),
        Job("def f(a, b):\n    return [a, b]", function="f", arguments='[1, "ü"]'),
        Job("def f(n):\n    return n + 1", asserts="assert f(1) == 2"),
        Job("def f(n):\n    return n", asserts="assert f(1) == 2"),
        Job("x = '\ud800'"),
        Job("x" * (LIMITS.code_bytes + 1)),
        Job("é" * LIMITS.code_bytes),
        Job("print('x' * 3000000)"),
    ]
    local = LocalSandbox(1)
    remote_outcomes, local_outcomes = sandbox.run(jobs, LIMITS), local.run(jobs, LIMITS)
    local.close()
    for remote, here in zip(remote_outcomes, local_outcomes, strict=True):
        assert (remote.status, remote.stdout, remote.stderr, remote.result, remote.passed) == (
            here.status,
            here.stdout,
            here.stderr,
            here.result,
            here.passed,
        )
    assert [outcome.status for outcome in remote_outcomes[:3]] == ["ok", "ok", "runtime_error"]
    assert remote_outcomes[1].stdout == bytes(range(256))[150:250][::-1]


def test_200_jobs_from_8_threads_on_two_servers(server: Server, start_server: StartServer, token_file: Path) -> None:
    sandbox = HTTPSandbox([server.url, start_server().url], str(token_file))

    def run(start: int) -> list[bytes]:
        return [outcome.stdout for outcome in sandbox.run([Job(DOUBLE, b"%d" % (start + i)) for i in range(25)], LIMITS)]

    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(run, range(0, 800, 100)))
    sandbox.close()
    assert outputs == [[b"%d\n" % (2 * (start + i)) for i in range(25)] for start in range(0, 800, 100)]


def test_no_jobs(sandbox: HTTPSandbox) -> None:
    assert sandbox.run([], LIMITS) == []


def test_a_program_slower_than_the_heartbeat(sandbox: HTTPSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_server, "SILENCE_S", 3.0)
    (outcome,) = sandbox.run([Job("import time\ntime.sleep(3.5)\nprint('late')")], LIMITS)
    assert (outcome.status, outcome.stdout) == ("ok", b"late\n")


def test_the_server_caps_what_a_client_asks_for(sandbox: HTTPSandbox) -> None:
    loop, sleep = sandbox.run(
        [Job("while True: pass"), Job("import time\ntime.sleep(60)")], Limits(cpu_s=1000, wall_s=1000, memory_mb=256)
    )
    assert loop.status == sleep.status == "timeout"
    assert loop.cpu_s < 3
    assert sleep.wall_s < 8


def run_in_background(sandbox: HTTPSandbox, jobs: list[Job]) -> tuple[threading.Thread, list]:
    outcomes: list = []
    thread = threading.Thread(target=lambda: outcomes.extend(sandbox.run(jobs, LIMITS)))
    thread.start()
    return thread, outcomes


SLOW = [Job(f"import time\ntime.sleep(0.1)\nprint({i})") for i in range(40)]


def test_others_take_over_from_a_server_that_is_killed(start_server: StartServer, token_file: Path) -> None:
    doomed, other = start_server(), start_server()
    sandbox = HTTPSandbox([doomed.url, other.url], str(token_file))
    thread, outcomes = run_in_background(sandbox, SLOW)
    time.sleep(0.8)
    doomed.kill()
    thread.join(60)
    assert [(outcome.status, outcome.stdout) for outcome in outcomes] == [("ok", b"%d\n" % i) for i in range(40)]
    assert sandbox.run([Job(DOUBLE, b"4")], LIMITS)[0].stdout == b"8\n"
    sandbox.close()


def test_what_nobody_can_run_is_no_verdict(start_server: StartServer, token_file: Path) -> None:
    server = start_server()
    sandbox = HTTPSandbox([server.url], str(token_file))
    thread, outcomes = run_in_background(sandbox, SLOW)
    time.sleep(0.8)
    server.kill()
    thread.join(30)
    assert len(outcomes) == 40
    assert {outcome.status for outcome in outcomes} <= {"ok", "infra"}
    assert all(outcome.stdout == b"%d\n" % i for i, outcome in enumerate(outcomes) if outcome.status == "ok")
    assert outcomes[-1].status == "infra"
    assert server.url in outcomes[-1].detail
    assert sandbox.run([Job(DOUBLE, b"4")], LIMITS)[0].status == "infra"
    start_server(port=server.port)
    assert sandbox.run([Job(DOUBLE, b"4")], LIMITS)[0].stdout == b"8\n"
    sandbox.close()


def test_a_server_that_falls_silent_is_given_up(
    start_server: StartServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_server, "SILENCE_S", 2.5)
    frozen, other = start_server(), start_server()
    sandbox = HTTPSandbox([frozen.url, other.url], str(token_file))
    sandbox.run(SLOW[:2], LIMITS)
    frozen.process.send_signal(signal.SIGSTOP)
    outcomes = sandbox.run(SLOW[:16], LIMITS)
    assert [outcome.stdout for outcome in outcomes] == [b"%d\n" % i for i in range(16)]
    sandbox.close()


def test_a_server_that_is_told_to_stop_finishes_its_work(start_server: StartServer, token_file: Path) -> None:
    server = start_server()
    sandbox = HTTPSandbox([server.url], str(token_file))
    thread, outcomes = run_in_background(sandbox, SLOW[:8])
    time.sleep(0.5)
    server.process.terminate()
    thread.join(30)
    assert [outcome.stdout for outcome in outcomes] == [b"%d\n" % i for i in range(8)]
    assert server.process.wait(20) == 0
    sandbox.close()


def test_a_refused_token_raises(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another-token-of-some-length")
    with pytest.raises(PermissionError, match="refused the token"):
        HTTPSandbox([server.url], str(tmp_path / "token")).run([Job(DOUBLE, b"1")], LIMITS)


def test_a_missing_token_raises(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIT_RLVR_SANDBOX_TOKEN", raising=False)
    with pytest.raises(ValueError, match="LIT_RLVR_SANDBOX_TOKEN is not set"):
        HTTPSandbox([server.url]).run([Job(DOUBLE, b"1")], LIMITS)
    with pytest.raises(FileNotFoundError, match="token_urlsafe"):
        HTTPSandbox([server.url], str(tmp_path / "none")).run([Job(DOUBLE, b"1")], LIMITS)
    (tmp_path / "short").write_text("short")
    with pytest.raises(ValueError, match="16 or more"):
        HTTPSandbox([server.url], str(tmp_path / "short")).run([Job(DOUBLE, b"1")], LIMITS)


def test_a_url_that_leads_elsewhere_raises(server: Server, token_file: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        with pytest.raises(ValueError, match="is not a sandbox server"):
            HTTPSandbox([f"http://127.0.0.1:{files.server_port}"], str(token_file)).run([Job(DOUBLE, b"1")], LIMITS)
        files.shutdown()
    with pytest.raises(ValueError, match="is not a sandbox server"):
        HTTPSandbox([f"{server.url}/elsewhere"], str(token_file)).run([Job(DOUBLE, b"1")], LIMITS)


def test_no_server_at_the_first_use_raises(token_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SandboxUnavailable, match=rf"127.0.0.1:{port}.*lit-rlvr sandbox serve"):
        HTTPSandbox([f"http://127.0.0.1:{port}"], str(token_file)).run([Job(DOUBLE, b"1")], LIMITS)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8700", "ftp://host", "http://", "http://host:port", "http://host:1/?a=b", "http://a:b@host"]
)
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="write http://host:port"):
        HTTPSandbox([url])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="urls is empty"):
        HTTPSandbox([])
    with pytest.raises(ValueError, match="num_connections must be positive, got 0"):
        HTTPSandbox(["http://host"], num_connections=0)


def test_a_job_larger_than_the_server_takes_raises(sandbox: HTTPSandbox) -> None:
    with pytest.raises(ValueError, match="--max_request_mb"):
        sandbox.run([Job(DOUBLE, bytes(4 * 1024**2))], LIMITS)
    assert len(sandbox.run([Job("print(len(input()))", b"x" * 10**6)] * 8, LIMITS)) == 8  # split over several requests


def test_arguments_that_are_no_list_raise_as_they_do_here(sandbox: HTTPSandbox) -> None:
    with pytest.raises(ValueError, match="JSON list"):
        sandbox.run([Job("def f(a): return a", function="f", arguments="{}")], LIMITS)


def test_a_copy_works_and_carries_no_token(sandbox: HTTPSandbox, server: Server) -> None:
    sandbox.run([Job(DOUBLE, b"1")], LIMITS)
    pickled = pickle.dumps(sandbox)
    assert TOKEN.encode() not in pickled
    copy = pickle.loads(pickled)
    assert copy.run([Job(DOUBLE, b"4")], LIMITS)[0].stdout == b"8\n"
    copy.close()
    sandbox.close()
    assert sandbox.run([Job(DOUBLE, b"4")], LIMITS)[0].stdout == b"8\n"  # opens again


def test_a_fork_has_connections_of_its_own(sandbox: HTTPSandbox) -> None:
    sandbox.run([Job(DOUBLE, b"1")] * 4, LIMITS)
    child = os.fork()
    if child == 0:
        is_right = [outcome.stdout for outcome in sandbox.run([Job(DOUBLE, b"4")] * 4, LIMITS)] == [b"8\n"] * 4
        os._exit(0 if is_right else 1)
    assert [outcome.stdout for outcome in sandbox.run([Job(DOUBLE, b"3")] * 4, LIMITS)] == [b"6\n"] * 4
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def asked(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict]:
    """Return status and answer of a request made by hand."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_health(server: Server) -> None:
    assert asked(server, "GET", "/health") == (200, {"status": "ok"})
    assert asked(server, "GET", "/health", Authorization="Bearer wrong")[0] == 401
    status, offer = asked(server, "GET", "/health", Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert offer["limits"]["cpu_s"] == 1.5
    assert offer["max_request_bytes"] == 4 * 1024**2
    assert asked(server, "GET", "/")[0] == 404


def test_nothing_runs_without_the_token(server: Server) -> None:
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}x"}):
        status, answer = asked(server, "POST", "/run", b'{"jobs": [], "limits": {}}', **headers)
        assert (status, list(answer)) == (401, ["error"])


VALID_JOB = '{"code": "print(1)"}'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "Expecting"),
        ("", "Expecting"),
        ("\x80", "request"),
        ("[]", "jobs and limits"),
        ('{"jobs": []}', "jobs and limits"),
        ('{"jobs": {}, "limits": {}}', "jobs must be a list"),
        ('{"jobs": [1], "limits": {}}', "jobs[0] must be a JSON object"),
        (f'{{"jobs": [{VALID_JOB}, {{}}], "limits": {{}}}}', "jobs[1]"),
        ('{"jobs": [{"code": 1}], "limits": {}}', "expected str, got int"),
        ('{"jobs": [{"code": "", "stdin": "***"}], "limits": {}}', "invalid base64"),
        ('{"jobs": [{"code": "", "stdin": "é"}], "limits": {}}', "codec"),
        ('{"jobs": [{"code": "", "shell": true}], "limits": {}}', "unknown field 'shell'"),
        ('{"jobs": [], "limits": {"cpu_s": -1}}', "cpu_s must be positive"),
        ('{"jobs": [], "limits": {"cpu_s": NaN}}', "cpu_s must be positive"),
        ('{"jobs": [], "limits": {"cpu_s": 1' + "0" * 400 + "}}", "limits"),
        ('{"jobs": [], "limits": {"memory_mb": 1' + "0" * 5000 + "}}", "request"),
        ('{"jobs": [], "limits": {"memory_mb": true}}', "expected int, got bool"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_malformed_requests_are_refused(server: Server, body: str, says: str) -> None:
    status, answer = asked(server, "POST", "/run", body.encode("latin-1"), Authorization=f"Bearer {TOKEN}")
    assert status == 400
    assert says in answer["error"]


def test_the_size_of_a_request_is_bounded(server: Server) -> None:
    authorization = f"Bearer {TOKEN}"
    assert asked(server, "POST", "/run", bytes(8 * 1024**2), Authorization=authorization)[0] == 413
    assert asked(server, "POST", "/run", None, Authorization=authorization, Content_Length=str(10**12))[0] == 413
    for length in ("", "-1", "x", "1" * 30):
        assert asked(server, "POST", "/run", None, Authorization=authorization, Content_Length=length)[0] == 411
    assert asked(server, "POST", "/run", None, Authorization=authorization, Transfer_Encoding="chunked")[0] == 411
    assert asked(server, "GET", "/health")[0] == 200


def test_the_token_is_never_printed(start_server: StartServer, token_file: Path) -> None:
    server = start_server()
    asked(server, "POST", "/run", b"{", Authorization=f"Bearer {TOKEN}")
    server.process.terminate()
    _, said = server.process.communicate(timeout=20)
    assert TOKEN not in said
    assert TOKEN not in Path(f"/proc/{os.getpid()}/cmdline").read_text()


def test_a_program_cannot_read_the_token(sandbox: HTTPSandbox, token_file: Path) -> None:
    codes = [f"print(open({str(token_file)!r}).read())", "import os\nprint(os.environ, open('/proc/self/environ').read())"]
    outcomes = sandbox.run([Job(code) for code in codes], LIMITS)
    assert all(TOKEN.encode() not in outcome.stdout + outcome.stderr for outcome in outcomes)


def test_mistakes_of_the_call_are_explained(tmp_path: Path) -> None:
    def fails(*options: str, entry: tuple[str, ...] = ("-c", SERVE)) -> str:
        command = [sys.executable, *entry, "--port=0", *options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        return result.stderr

    assert "does not exist" in fails(f"--token_file={tmp_path}/none", entry=("-m", "lit_rlvr.cli", "sandbox", "serve"))
    (tmp_path / "token").write_text(TOKEN)
    assert "wall_s must be positive" in fails(f"--token_file={tmp_path}/token", "--max_wall_s=0")
