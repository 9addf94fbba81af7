"""The server that runs the tools: reads a call, runs it, writes the result.

It keeps nothing between calls but the processes it started in the background, and a bounded
memory of files that the agent saw, on which nothing depends. A thread that has read a call runs it,
and another one reads on: calls run side by side, and none waits for a thread to start. The host
sends writes one after the other.
"""

from __future__ import annotations

import _thread
import os
import sys

from orchestrator_tools import children, table
from orchestrator_tools.contract import (
    LINE_LIMIT,
    ToolResult,
    decode_line,
    encode_line,
    result_to_wire,
    text_result,
)
from orchestrator_tools.errors import Exhausted, ToolError
from orchestrator_tools.place import Place
from orchestrator_tools.recall import Recall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

    from orchestrator_tools.packing import Packing

PR_SET_DUMPABLE = 4

FAULTS = (OSError, ValueError, TypeError, AttributeError, MemoryError, ImportError)
"""What a tool may meet on a machine that is short of everything; a call ends with it, no more."""


class Server:
    """Answers the host's messages until its input ends."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, environment: dict[str, str]) -> None:
        self._requests = requests
        self._answers = answers
        self._writing = _thread.allocate_lock()
        self._reading = _thread.allocate_lock()
        self._counting = _thread.allocate_lock()
        self._spare = 0
        self._calls = 0
        self._workspace = environment["ORCHESTRATE_WORKSPACE"]
        self._git = environment.get("ORCHESTRATE_GIT", "")
        self._scratch = environment.get("TMPDIR", "/tmp")
        self._rg = environment.get("ORCHESTRATE_RG", "rg")
        self._own_processes = environment.get("ORCHESTRATE_OWN_PROCESSES") == "1"
        self._recall = Recall()
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ping": lambda _: {},
            "call": self._call,
            "alone": self._alone,
            "where": self._where,
            "redo": self._redo,
            "snapshot": self._snapshot,
            "restore": self._restore,
            "commit": self._commit,
            "merge": self._merge,
            "pack": self._pack,
            "packed": self._packed,
        }
        self._packing: Packing | None = None

    def serve(self) -> None:
        """Answer until the input ends; then this process ends, whatever still runs in it."""
        self._write({"ready": True, "python": sys.version.split()[0]})
        self._take_turns()

    def _take_turns(self) -> None:
        """Read a message while no other thread reads, and answer it while another one does."""
        while True:
            self._count(1)
            with self._reading:
                self._count(-1)
                message = self._next()
                self._under_way(1)
                # Whoever is counted now waits for this very lock, and will read next.
                alone = self._spare == 0
            if message is None:
                os._exit(0)
            if alone:
                self._begin_another()
            self._answer(message)

    def _under_way(self, change: int) -> None:
        with self._counting:
            self._calls += change

    def _count(self, change: int) -> None:
        with self._counting:
            self._spare += change

    def _begin_another(self) -> None:
        """Start a thread that reads on; where none is to be had, the next message waits."""
        try:
            _thread.start_new_thread(self._take_turns, ())
        except RuntimeError:
            return

    def _next(self) -> dict[str, Any] | None:
        """Return the next message; None at the end of the input."""
        while True:
            line = self._requests.readline(LINE_LIMIT + 1)
            if not line:
                return None
            if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
                self._skip_line()
                continue
            try:
                return decode_line(line)
            except ValueError:
                continue

    def _skip_line(self) -> None:
        """Read past the rest of a line that is too long: no part of it is a message."""
        while True:
            line = self._requests.readline(LINE_LIMIT)
            if not line or line.endswith(b"\n"):
                return

    def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any]
        try:
            operation = self._operations[str(message.get("op"))]
            answer = operation(message)
        except ToolError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - a fault here must not end the server
            answer = {"error": f"{type(error).__name__}: {error}"}
        answer["id"] = _number(message)
        self._under_way(-1)  # before it is told: whoever hears it may ask for the next at once
        self._write(answer)

    def _write(self, answer: dict[str, Any]) -> None:
        line = encode_line(answer)
        if len(line) > LINE_LIMIT:
            line = encode_line({"id": answer.get("id"), "error": "the result is too large"})
        with self._writing:
            self._answers.write(line)
            self._answers.flush()

    def _call(self, message: dict[str, Any]) -> dict[str, Any]:
        place = self._place(message)
        if message.get("live") is True:
            place.show = lambda text: self._show(_number(message), text)
        result = self._result(str(message.get("tool")), message.get("arguments") or {}, place)
        return result_to_wire(result, place.change())

    def _place(self, message: dict[str, Any]) -> Place:
        return Place(
            workspace=self._workspace,
            cwd=str(message.get("cwd") or self._workspace),
            scratch=self._scratch,
            rg=self._rg,
            seen=message.get("seen") or {},
            recall=self._recall,
        )

    def _show(self, number: str | int | None, text: str) -> None:
        self._write({"id": number, "output": text})

    def _where(self, message: dict[str, Any]) -> dict[str, Any]:
        """Tell where a path leads, links followed."""
        place = self._place(message)
        return {"path": os.path.realpath(place.path(str(message.get("path"))))}

    def _redo(self, message: dict[str, Any]) -> dict[str, Any]:
        """Repeat a Write or Edit on files that were put back, unless its effect is there."""
        tool, arguments = str(message.get("tool")), message.get("arguments") or {}
        if tool not in table.ROOMS or table.load(tool).EFFECT != "repeatable":
            raise ToolError(f"{tool} cannot be repeated")
        place = self._place(message)
        path = os.path.realpath(place.path(str(arguments.get("file_path"))))
        if (message.get("after") or {}).get(path) not in {None, place.now(path)}:
            self._result(tool, arguments, place)
        return {"seen": place.newly_seen}

    @staticmethod
    def _result(tool: str, arguments: dict[str, Any], place: Place) -> ToolResult:
        try:
            return table.run(tool, arguments, place)
        except BlockingIOError:
            return text_result(str(Exhausted()), is_error=True, kind=Exhausted.__name__)
        except ToolError as error:
            return text_result(str(error), is_error=True, kind=type(error).__name__)
        except FAULTS as error:
            return text_result(f"{tool} failed: {error}", is_error=True, kind=type(error).__name__)

    def _alone(self, _: dict[str, Any]) -> dict[str, Any]:
        """End all that runs beside this server; asked only where the sandbox numbers its own."""
        from orchestrator_tools import alone

        if not self._own_processes:
            raise ToolError("this sandbox has no processes of its own")
        if self._calls > 1:
            # One that is about to start a command would start it afterwards.
            raise ToolError("other calls are under way")
        alone.end_the_rest()
        return {}

    def _snapshot(self, message: dict[str, Any]) -> dict[str, Any]:
        from orchestrator_tools import snapshot

        return snapshot.take(self._git, self._workspace, int(message["turn"]))

    def _restore(self, message: dict[str, Any]) -> dict[str, Any]:
        from orchestrator_tools import snapshot

        return snapshot.restore(self._git, self._workspace, str(message["snapshot"]))

    def _commit(self, message: dict[str, Any]) -> dict[str, Any]:
        """Commit all that is left, and record the state in which that leaves the workspace."""
        from orchestrator_tools import committing, snapshot

        git, workspace = self._git, self._workspace
        turn = int(message["turn"]) if message.get("turn") is not None else None
        done = committing.commit(git, workspace, str(message["message"]), turn)
        if turn is not None:
            kept = snapshot.take(git, workspace, turn, is_committed=True)
            done |= {"snapshot": kept["snapshot"], "aside": kept["aside"] or done["aside"]}
        return done

    def _merge(self, message: dict[str, Any]) -> dict[str, Any]:
        from orchestrator_tools import merging

        commit, base = str(message["commit"]), str(message["base"])
        return merging.merge(self._git, self._workspace, commit, base, str(message["message"]))

    def _pack(self, message: dict[str, Any]) -> dict[str, Any]:
        """Begin to bring commits out, and return the first part of them."""
        from orchestrator_tools.packing import Packing

        if self._packing is not None:
            self._packing.close()
        head, without = str(message["head"]), [str(one) for one in message["without"]]
        self._packing = Packing(self._git, self._workspace, head, without)
        return self._packing.part()

    def _packed(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return the next part of what is being brought out."""
        if self._packing is None:
            raise ToolError("nothing is being packed")
        return self._packing.part()


def _number(message: dict[str, Any]) -> str | int | None:
    """Return what an answer is found by; anything but a word or a number is not repeated."""
    number = message.get("id")
    return number if isinstance(number, (str, int)) else None


def _channel() -> tuple[BinaryIO, BinaryIO]:
    """Return both ends of the talk with the host: a socket of its own, else stdin and stdout."""
    number = os.environ.pop("ORCHESTRATE_CHANNEL", "")
    if not number:
        return os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # As plain descriptors: the module for sockets costs more memory than all tools together.
    os.set_inheritable(int(number), False)
    return os.fdopen(int(number), "rb"), os.fdopen(os.dup(int(number)), "wb")


def _close_memory() -> None:
    """See to it that no process of the same user may open this one's descriptors or memory.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        # What ctypes itself calls; all that it makes of it is two milliseconds to load.
        from _ctypes import call_function, dlopen, dlsym

        here: Any = None  # this very process, which holds libc
        prctl = dlsym(dlopen(here, 0), "prctl")
        failed = call_function(prctl, (PR_SET_DUMPABLE, 0, 0, 0, 0))
    except (ImportError, AttributeError, TypeError):
        import ctypes

        failed = ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if failed:
        raise OSError("this process cannot be closed to others")


def main() -> None:
    """Serve the host over a channel that no child of this process ever sees."""
    requests, answers = _channel()
    children.keep_descriptors()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    way_out = os.environ.pop("ORCHESTRATE_EGRESS", "")
    if way_out:
        from orchestrator_tools import relay

        relay.start(way_out)
    _close_memory()
    Server(requests, answers, dict(os.environ)).serve()
