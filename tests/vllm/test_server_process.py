"""Launched servers and their keepers: nothing survives, whoever is killed. The servers here are trees of sleeping processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server_cases import wait_until

from lit_rlvr.rollout.vllm.server.command import LaunchSettings, server_command, server_environment
from lit_rlvr.rollout.vllm.server.process import ServerProcess, free_port, is_port_free

TREE = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""
"""A server with a worker that does not listen to reason."""


def tree(log: Path) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", TREE], dict(os.environ), log)


def child_of(log: Path) -> int:
    wait_until(lambda: log.exists() and "child" in log.read_text(), 20)
    return int(log.read_text().split()[-1])


def is_running(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_stopping_ends_the_whole_tree(tmp_path: Path) -> None:
    process = tree(tmp_path / "log")
    process.start()
    assert process.process_id is not None
    child = child_of(tmp_path / "log")
    assert process.is_alive()
    assert is_running(child)
    process.stop()
    assert not process.is_alive()
    wait_until(lambda: not is_running(child), 5)
    assert not is_running(process.process_id)


def test_when_the_root_is_killed_its_children_follow_and_it_can_be_started_again(tmp_path: Path) -> None:
    process = tree(tmp_path / "log")
    process.start()
    child = child_of(tmp_path / "log")
    assert process.process_id is not None
    os.kill(process.process_id, signal.SIGKILL)
    wait_until(lambda: not process.is_alive(), 10)
    assert process.exit_code == 128 + signal.SIGKILL
    wait_until(lambda: not is_running(child), 5)
    process.start()
    assert process.is_alive()
    assert process.num_starts == 2
    process.stop()


def test_when_the_keeper_is_killed_nothing_is_left_at_the_next_start(tmp_path: Path) -> None:
    process = tree(tmp_path / "log")
    process.start()
    child = child_of(tmp_path / "log")
    assert process._keeper is not None
    process._keeper.kill()
    wait_until(lambda: not process.is_alive(), 10)
    process.start()
    wait_until(lambda: not is_running(child), 5)
    process.stop()


def test_when_the_trainer_is_killed_its_servers_follow(tmp_path: Path) -> None:
    """Started from a thread that ends: a death signal bound to the parent thread would kill the server too early."""
    trainer = f"""
import os, sys, threading, time
from pathlib import Path
from lit_rlvr.rollout.vllm.server.process import ServerProcess
folder = Path({str(tmp_path)!r})
(folder / "weights").mkdir()
command = [sys.executable, "-c", {TREE!r}]
process = ServerProcess(command, dict(os.environ), folder / "log", [str(folder / "weights")])
thread = threading.Thread(target=process.start)
thread.start(); thread.join()
print(process.process_id, flush=True)
time.sleep(600)
"""
    started = subprocess.Popen([sys.executable, "-c", trainer], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    server = int(started.stdout.readline())
    child = child_of(tmp_path / "log")
    time.sleep(1)
    assert is_running(server)
    started.kill()
    started.wait()
    wait_until(lambda: not is_running(server) and not is_running(child), 15)
    wait_until(lambda: not (tmp_path / "weights").exists(), 5)
    started.stdout.close()


def test_the_exit_code_and_the_end_of_the_log_are_kept(tmp_path: Path) -> None:
    process = ServerProcess(
        [sys.executable, "-c", "import sys\nfor i in range(100): print('line', i)\nsys.exit(7)"],
        dict(os.environ),
        tmp_path / "log",
    )
    assert "the log is empty" in process.log_tail()
    process.start()
    wait_until(lambda: not process.is_alive(), 20)
    assert process.exit_code == 7
    assert process.log_tail(2) == "    | line 98\n    | line 99"


def test_a_port_that_somebody_listens_on_is_seen() -> None:
    import socket

    port = free_port()
    assert is_port_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_port_free(port)


def test_the_command_says_what_the_user_wants_and_the_environment_nothing_of_the_trainer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    arguments = {"tensor_parallel_size": 2, "async-scheduling": False, "compilation_config": {"mode": 0}}
    settings = LaunchSettings("/model", "bfloat16", 128, arguments, api_key="secret")
    command = " ".join(server_command(settings, 8000))
    for part in (
        "--tensor-parallel-size 2",
        "--no-async-scheduling",
        '--compilation-config {"mode": 0}',
        "--max-model-len 128",
    ):
        assert part in command
    assert "secret" not in command
    environment = server_environment(settings, [4, 5])
    assert environment["CUDA_VISIBLE_DEVICES"] == "4,5"
    assert environment["VLLM_API_KEY"] == "secret"
    assert not {"RANK", "TORCHELASTIC_RUN_ID", "VLLM_ENABLE_V1_MULTIPROCESSING"} & set(environment)
    assert "secret" not in repr(settings)
