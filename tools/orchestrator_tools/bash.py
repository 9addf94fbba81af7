"""Bash: one command in a fresh shell; the working directory carries over."""

from __future__ import annotations

import _thread
import codecs
import os
import time

from orchestrator_tools.children import SIGKILL, SIGTERM, Process, start
from orchestrator_tools.contract import LIVE_LIMIT, ToolResult, text_result
from orchestrator_tools.errors import Exhausted, ToolError
from orchestrator_tools.output import TEXT_LIMIT, head_and_tail
from orchestrator_tools.place import Place, remove_quietly
from orchestrator_tools.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

NAME = "Bash"
EFFECT = "any"
DESCRIPTION = (
    "Run a command in bash. The working directory carries over, variables do not. No network "
    "unless you were told of one, no stdin. Use Read, Grep and Glob rather than cat, grep and find."
)
DEFAULT_MS = 120_000
MOST_MS = 600_000
GRACE_S = 2.0
OUTPUT_READ = 4 * 1024 * 1024
QUIET_S = 0.3
"""A command that ends within this time shows nothing on the way; most do."""
SHOW_EVERY_S = 0.25
MARK = "ORCHESTRATE_CALL"

REPORT = 200
"""The cwd is reported on a descriptor of its own, above those that scripts use themselves."""
SHELL = 'trap "pwd -P >&{0}" EXIT; eval "$1"'


@frozen
class Arguments:
    """What a command is run with."""

    command: str = field(metadata={"doc": "The command"})
    timeout: float | None = field(
        default=None,
        metadata={"doc": "Milliseconds, 120000 unless given", "ge": 1, "le": MOST_MS},
    )
    description: str | None = field(default=None, metadata={"doc": "What it does, in a few words"})
    run_in_background: bool = field(
        default=False,
        metadata={"doc": "Return a pid and an output file at once; stop it with kill"},
    )


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Run a command."""
    reap()
    if "\0" in arguments.command:
        raise ToolError("a command cannot hold a NUL character")
    cwd = place.cwd if os.path.isdir(place.cwd) else place.workspace
    mark = os.urandom(8).hex()
    log = os.path.join(place.scratch, f"bash-{mark}.log")
    if arguments.run_in_background:
        return _start_background(arguments.command, cwd, log, mark)
    seconds = min(arguments.timeout or DEFAULT_MS, MOST_MS) / 1000
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    # Opened before the command can remove it.
    kept = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = _spawn(arguments.command, cwd, log, mark, report=writer)
        os.close(writer)
        writer = -1
        timed_out = not _wait_aloud(process, seconds, kept, place.show)
        if timed_out:
            _end_tree(process, mark)
        status = process.wait()
        place.new_cwd = _reported_cwd(reader)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    with os.fdopen(kept, "rb") as output:
        return _answer(output, log, status, seconds if timed_out else None)


def _spawn(command: str, cwd: str, log: str, mark: str, report: int | None = None) -> Process:
    environment = dict(os.environ, PWD=cwd)
    environment[MARK] = mark
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    given = {1: output, 2: output}
    shell = 'eval "$1"'
    if report is not None:
        number = REPORT if report != REPORT else REPORT + 1
        given[number] = report
        shell = SHELL.format(number)
    argv = ["bash", "-c", shell, "bash", command]
    try:
        return start(argv, given, cwd=cwd, environment=environment, session=True)
    except BlockingIOError:
        raise Exhausted from None
    except OSError as error:
        raise ToolError(f"bash cannot be started: {error.strerror}") from None
    finally:
        os.close(output)


def _start_background(command: str, cwd: str, log: str, mark: str) -> ToolResult:
    process = _spawn(command, cwd, log, mark)
    BACKGROUND.append(process)
    try:
        _thread.start_new_thread(_see_off, (process,))
    except RuntimeError:
        pass  # no thread is to be had: the next call reaps it
    return text_result(
        f"Started in the background: pid {process.pid}, output in {log}. "
        f"Read that file for its output; end it with: kill -- -{process.pid}",
        pid=process.pid,
        output=log,
    )


BACKGROUND: list[Process] = []


def reap() -> None:
    """Forget background commands that have ended, so that none is left a zombie."""
    for process in list(BACKGROUND):
        if process.poll() is not None:
            try:
                BACKGROUND.remove(process)
            except ValueError:
                pass  # another call was faster


def _see_off(process: Process) -> None:
    """Reap a background command as soon as it ends: who waits for its pid to go is not misled."""
    process.ends_within(None)
    process.poll()


class _Tail:
    """What a log has gained since it was last looked at: of much, the latest."""

    def __init__(self, log: int) -> None:
        self._log = log
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def news(self) -> str:
        """Return it; a character that is not there in full yet waits for the next time."""
        size = os.fstat(self._log).st_size
        start = max(self._read, size - LIVE_LIMIT)
        if start > self._read:
            self._decoder.reset()
        data = os.pread(self._log, max(size - start, 0), start)
        self._read = size
        return self._decoder.decode(data).replace("\0", "\N{REPLACEMENT CHARACTER}")


def _wait_aloud(
    process: Process,
    seconds: float,
    log: int,
    show: Callable[[str], None] | None,
) -> bool:
    """Wait for the end, and show new output of a command that takes its time; tell if it came."""
    if show is None or seconds <= QUIET_S:
        return process.ends_within(seconds)
    if process.ends_within(QUIET_S):
        return True
    end, tail = time.monotonic() + seconds - QUIET_S, _Tail(log)
    while True:
        text = tail.news()
        if text:
            show(text)
        left = end - time.monotonic()
        if left <= 0 or process.ends_within(min(left, SHOW_EVERY_S)):
            return left > 0


def _end_tree(process: Process, mark: str) -> None:
    """End a command and all that it started, even what left its process group."""
    _signal_group(process.pid, SIGTERM)
    ended = process.ends_within(GRACE_S)
    for _ in range(3):
        _signal_group(process.pid, SIGKILL)
        left = _marked(mark)
        for pid in left:
            _signal(pid, SIGKILL)
        if not left and ended:
            return
        ended = True
        time.sleep(0.01)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:
        return


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return


def _marked(mark: str) -> list[int]:
    """Find the processes that carry a call's mark in their environment."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if needle in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


def _reported_cwd(reader: int) -> str | None:
    """Read the cwd that the shell reported; nobody who holds the pipe can make this wait.

    Not even one who takes the report out between a look and a read: it is read without waiting.
    """
    try:
        said = os.read(reader, 8192)
    except BlockingIOError:
        return None
    cwd = said.removesuffix(b"\n").decode("utf-8", "surrogateescape")
    return cwd if os.path.isabs(cwd) and os.path.isdir(cwd) else None


def _answer(output: BinaryIO, log: str, status: int, limit: float | None) -> ToolResult:
    size = os.fstat(output.fileno()).st_size
    shown, cut = _shown(output, size)
    if cut:
        shown += f"\n(output of {size} bytes kept whole in {log})"
    else:
        remove_quietly(log)
    code = 128 - status if status < 0 else status
    if limit is not None:
        shown = f"Timed out after {limit:g} s and was ended\n{shown}"
    elif code:
        shown = f"Exit code {code}\n{shown}"
    shown = shown.rstrip("\n") or "(no output)"
    failed = bool(code) or limit is not None
    return text_result(shown, is_error=failed, truncated=cut, exit_code=code, bytes=size)


def _shown(output: BinaryIO, size: int) -> tuple[str, bool]:
    """Return the output, or its head and tail where it is long; no character is split."""
    if size <= OUTPUT_READ:
        return head_and_tail(_text(output.read(OUTPUT_READ)))
    half = TEXT_LIMIT // 2
    head = output.read(half)
    output.seek(-half, os.SEEK_END)
    tail = output.read(half)
    while tail[:1] and tail[0] & 0xC0 == 0x80 and len(tail) > half - 4:
        tail = tail[1:]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    missing = size - len(head) - len(tail)
    return f"{decoder.decode(head)}\n[... {missing} bytes left out ...]\n{_text(tail)}", True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
