"""What hostile programs would like to reach, laid out where they can be seen to have reached it."""

import ctypes
import os
import resource
import secrets
import socket
import sys
import tempfile
from pathlib import Path

PLACES = (".", "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/", "/home", "/opt", str(Path.home()))
"""Where programs may leave files."""

SECRET_VARIABLE = "ABUSE_SECRET"


def start_again_with_a_secret() -> None:
    """Make sure that this process has had a secret in its environment from the start, where /proc shows it."""
    if SECRET_VARIABLE not in os.environ:
        os.environ[SECRET_VARIABLE] = f"abuse-secret-{secrets.token_hex(16)}"
        os.execv(sys.executable, [sys.executable, *sys.argv])


class Traps:
    """A file, an environment variable, a descriptor, listeners and a secret, each watched.

    Nothing here is protected by permissions: only a sandbox keeps programs away from it.
    """

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self.secret = os.environ[SECRET_VARIABLE]
        """In the file, in the environment, and the expected output of programs that look for it."""
        self.folder = Path(tempfile.mkdtemp(prefix="traps-"))
        self.folder.chmod(0o777)
        self.canary = self.folder / "canary.txt"
        self.canary.write_text(self.secret)
        self.canary.chmod(0o666)
        self.inherited = os.open(self.folder / "inherited.txt", os.O_RDWR | os.O_CREAT)
        os.write(self.inherited, b"untouched")
        os.set_inheritable(self.inherited, True)
        self._queue = ctypes.CDLL(None, use_errno=True)
        self._listen()
        self._before = self._state()

    def filled(self, text: str, case: str) -> str:
        """Return `text` with the names between `@` replaced by what they stand for in this run."""
        for name, value in {
            "MARK": f"abuse{self.run}{case}"[:15],
            "CANARY": self.canary,
            "FOLDER": self.folder,
            "HARNESS": os.getpid(),
            "TCP": self._tcp.getsockname()[1],
            "UDP": self._udp.getsockname()[1],
            "UNIX": self.folder / "socket",
            "ABSTRACT": f"abuse-{self.run}",
            "ANSWER": self.secret,
            "FD": self.inherited,
            "KEY": self.run,
        }.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def faults(self) -> list[str]:
        """Return what was reached or left behind since the start."""
        found = [f"{name}: {value!r}" for name, value in self._state().items() if value != self._before[name]]
        for listener in self._listeners:
            try:
                _ = listener.accept() if listener.type == socket.SOCK_STREAM else listener.recvfrom(1)
                found.append(f"a connection arrived at {listener.getsockname()!r}")
            except BlockingIOError:
                pass
        for place in PLACES:
            names = os.listdir(place) if os.access(place, os.R_OK) else []
            found += [f"left behind: {place}/{name}" for name in names if f"abuse{self.run}" in name]
        return found + self._left_in_the_kernel() + self._left_running()

    def close(self) -> None:
        """Remove the traps."""
        for listener in self._listeners:
            listener.close()
        os.close(self.inherited)
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _listen(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        stream, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for listener, address in (
            (stream, f"{self.folder}/socket"),
            (datagram, f"{self.folder}/socket.datagram"),
            (abstract, f"\0abuse-{self.run}"),
        ):
            listener.bind(address)
            if listener is not datagram:
                listener.listen()
        self._listeners = [self._tcp, self._udp, stream, datagram, abstract]
        for listener in self._listeners:
            listener.setblocking(False)
        for name in ("socket", "socket.datagram"):
            (self.folder / name).chmod(0o777)

    def _state(self) -> dict[str, object]:
        canary = self.canary.stat() if self.canary.exists() else None
        return {
            "the canary": canary and (self.canary.read_text(), canary.st_mode, canary.st_mtime_ns, canary.st_nlink),
            "the folder of the canary": sorted(os.listdir(self.folder)) if self.folder.exists() else None,
            "the mode of that folder": self.folder.exists() and self.folder.stat().st_mode,
            "the inherited descriptor": os.pread(self.inherited, 100, 0),
            "the harness's priority": os.getpriority(os.PRIO_PROCESS, 0),
            "the harness's limits": [resource.getrlimit(kind) for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)],
            "the harness's processors": os.sched_getaffinity(0),
            "the harness's environment": os.environ.get(SECRET_VARIABLE),
        }

    def _left_in_the_kernel(self) -> list[str]:
        found = []
        key = str(int(self.run, 16) - (1 << 32 if int(self.run, 16) >= 1 << 31 else 0))
        for kind in ("shm", "sem", "msg"):
            path = Path(f"/proc/sysvipc/{kind}")
            if path.exists() and any(line.split()[0] == key for line in path.read_text().splitlines()[1:]):
                found.append(f"left behind: System V {kind}")
        if self._queue.syscall(241, self.filled("@MARK@", "message_queue").encode()) == 0:
            found.append("left behind: a message queue")
        return found

    def _left_running(self) -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                names = Path(f"/proc/{pid}/comm").read_text() + Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if f"abuse{self.run}" in names:
                found.append(f"left running: {names!r}")
        return found
