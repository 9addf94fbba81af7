"""A git process that stays and answers one question after the other.

A run asks git dozens of small things; a process for each would cost more than the things
themselves.
"""

from __future__ import annotations

import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TypeVar

from orchestrator.errors import WorkspaceError
from orchestrator.hostgit import NO_INDEX, environment

END_S = 5.0
Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """The process is busy, or it ended instead of answering."""


class StandingGit:
    """One git process, started when it is first needed; it may be used from several threads.

    Args:
        common: the repository's common git directory.
        arguments: the git command, one that reads questions from its input.
        settings: of git, for this command.
    """

    def __init__(
        self, common: Path, *arguments: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self._common = common
        self._arguments = arguments
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: weakref.finalize[[subprocess.Popen[bytes]], StandingGit] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process that answers, if there is one."""
        return self._process.pid if self._process is not None else None

    def ask(
        self, question: bytes, answer: Callable[[IO[bytes]], Answer], *, patience_s: float = -1
    ) -> Answer:
        """Ask one question.

        Args:
            question: what is written; it has to fit a pipe where git answers before it has read
                all of it.
            answer: reads the answer, whole; ``EOFError`` means that there is none.
            patience_s: how long to wait while others are asking; below 0, as long as it takes.

        Raises:
            NoAnswer: there is no answer, and no process any more; or the time has passed.
            WorkspaceError: git is not installed.
        """
        if not self._lock.acquire(timeout=patience_s):
            raise NoAnswer
        try:
            questions, answers = self._streams()
            questions.write(question)
            questions.flush()
            return answer(answers)
        except (OSError, EOFError):
            self._end()
            raise NoAnswer from None
        except BaseException:
            self._end()  # half an answer may still be under way
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._ending is not None:
            self._ending()
        self._process = self._ending = None

    def _streams(self) -> tuple[IO[bytes], IO[bytes]]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise EOFError
        return process.stdin, process.stdout

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            try:
                self._process = subprocess.Popen(
                    ["git", *self._arguments],
                    cwd=self._common,
                    env=environment(
                        self._settings, GIT_DIR=str(self._common), GIT_INDEX_FILE=NO_INDEX
                    ),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
                )
            except FileNotFoundError:
                raise WorkspaceError(
                    "git is not installed", hint="install git 2.31 or newer"
                ) from None
            self._ending = weakref.finalize(self, _end_process, self._process)
        return self._process


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """Let a process end by the end of its input."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
