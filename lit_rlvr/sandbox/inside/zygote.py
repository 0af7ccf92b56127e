"""The zygote: a confined interpreter that forks one process per program and reports how each one ended.

It never holds a program, an input, or anything else that one program could read of another: those travel as descriptors, which
only the forked process reads. It ends when its parent does.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from lit_rlvr.sandbox.confinement.limits import ResourceLimits
from lit_rlvr.sandbox.confinement.system import fork
from lit_rlvr.sandbox.inside.children import Child, watch
from lit_rlvr.sandbox.inside.process import become
from lit_rlvr.sandbox.inside.setup import Settings, confine
from lit_rlvr.sandbox.inside.streams import move_up

MESSAGE_BYTES = 65536
_MAX_DESCRIPTORS = 16


def main(link_number: int, parent: int) -> NoReturn:
    """Confine this process and serve the socket `link_number` until its other end, or the parent, is gone.

    Args:
        link_number: descriptor of a SEQPACKET socket. The first message is the configuration.
        parent: descriptor of the parent process (pidfd), or -1 where the kernel has none.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; a program that prints without end should end
    link, parent = socket.socket(fileno=move_up(link_number)), move_up(parent)
    try:
        settings = confine(json.loads(link.recv(MESSAGE_BYTES)))
    except OSError as error:
        link.send(json.dumps({"unavailable": str(error)}).encode())
        os._exit(1)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lit_rlvr"]:
        del sys.modules[name]  # programs find the standard library and nothing else
    link.send(json.dumps({"ready": os.getpid(), "threads": settings.threads}).encode())
    while True:
        _serve_one(link, parent, settings)


def _serve_one(link: socket.socket, parent: int, settings: Settings) -> None:
    """Run the processes of one job, one message each, and answer how they ended."""
    children: list[Child] = []
    has_more = True
    error = ""
    while has_more:
        request, descriptors = _receive(link, parent)
        has_more = request["has_more"]
        try:
            if not error:
                children.append(_fork(request, descriptors, settings))
        except OSError as problem:
            error = str(problem)
            for child in children:
                child.kill("infra")
        for descriptor in descriptors:
            os.close(descriptor)
    watch(children, link.fileno(), parent)
    answer = {"error": error} if error else {"endings": [child.ending for child in children]}
    link.send(json.dumps(answer).encode())


def _receive(link: socket.socket, parent: int) -> tuple[dict[str, Any], list[int]]:
    poller = select.poll()
    poller.register(link, select.POLLIN)
    if parent >= 0:
        poller.register(parent, select.POLLIN)
    if any(descriptor == parent for descriptor, _ in poller.poll()):
        os._exit(0)
    message, descriptors, _, _ = socket.recv_fds(link, MESSAGE_BYTES, _MAX_DESCRIPTORS)
    if not message:
        os._exit(0)
    return json.loads(message), descriptors


def _fork(request: dict[str, Any], descriptors: list[int], settings: Settings) -> Child:
    limits = ResourceLimits(
        cpu_s=request["cpu_s"],
        address_space=settings.address_space + request["memory_bytes"],
        file_size=request["file_bytes"],
    )
    started = time.monotonic()
    process_id = fork()
    if not process_id:
        become(request["role"], descriptors, limits, settings)
    return Child(process_id, request["role"] == "test", request["cpu_s"], request["wall_s"], started)
