"""Runs a command as its child and ends it, with all that it has started, when the parent is gone.

    python -I -S guard.py OWNER FAREWELL COMMAND...

Standard input carries orders of one byte; each is answered on standard output with one line. Its
end means that the parent is gone, however that came: a closed pipe needs no farewell, so it also
tells of SIGKILL. The command then has the signal FAREWELL (a number, or nothing for none) and a
moment to follow it, before all are killed. The command's own output goes to standard error.

The guard is the *subreaper* of what it has started (Linux, prctl(2)): an orphan becomes its child
and is not lost. PostgreSQL needs that: its backends leave the process group of their server. If the
guard itself is killed, the kernel kills the command.

This file is a program of its own and imports nothing of Landline, to start fast and stay small.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

# Orders.
TERMINATE = b"T"  # SIGTERM to the command
INTERRUPT = b"I"  # SIGINT to the command
PAUSE = b"S"  # SIGSTOP to the command and all that it has started
RESUME = b"C"  # SIGCONT to all of them
KILL = b"K"  # SIGKILL to all of them

_NOT_STARTED = 127  # what a shell reports

_IS_LINUX = sys.platform == "linux"

# <linux/prctl.h>, <linux/securebits.h> and <linux/capability.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_OVERRIDE = 1

_POLL_SECONDS = 0.005
# About two seconds. Counted, as time also passes while the whole machine stands still.
_FAREWELL_POLLS = 400


def main(arguments: list[str]) -> int:
    """Run the command to its end; return its exit code, as a shell counts it."""
    owner, farewell, command = arguments[0], arguments[1], arguments[2:]
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the byte in the pipe says which one it was
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = _start(owner, command)
    _answer(str(child))
    status = None
    while status is None:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            numbers = os.read(woken, 64)
            status = _reap(child)
            if any(number != signal.SIGCHLD for number in numbers):
                break
        if status is None and 0 in readable:
            order = os.read(0, 1)
            if not order:
                break
            _obey(order, child)
            _answer("")
    if status is None and farewell:
        status = _say_farewell(child, int(farewell))
    ended = _kill_all(child)
    status = ended if status is None else status
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _obey(order: bytes, child: int) -> None:
    if order == TERMINATE:
        os.kill(child, signal.SIGTERM)
    elif order == INTERRUPT:
        os.kill(child, signal.SIGINT)
    elif order == PAUSE:
        # Until none of them runs: one that has not stopped yet may still fork.
        while running := [pid for pid, state in _descendants() if state not in "TtZ"]:
            _signal(running, signal.SIGSTOP)
            time.sleep(_POLL_SECONDS)
    elif order == RESUME:
        _signal([pid for pid, _ in _descendants()], signal.SIGCONT)
    elif order == KILL:
        _signal([pid for pid, _ in _descendants()], signal.SIGKILL)


def _answer(text: str) -> None:
    with suppress(BrokenPipeError):  # the end of the input will say it
        os.write(1, text.encode() + b"\n")


def _reap(child: int) -> int | None:
    """Reap what has ended, adopted orphans too; return the child's status if it was among them."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = status
    return found


def _say_farewell(child: int, number: int) -> int | None:
    """Let it go by itself, also where it is paused; return its status if it did."""
    _obey(RESUME, child)
    _signal([child], number)
    for _ in range(_FAREWELL_POLLS):
        if (status := _reap(child)) is not None:
            return status
        time.sleep(_POLL_SECONDS)
    return None


def _kill_all(child: int) -> int:
    """Kill until nobody is left; return the child's status, if it ended here."""
    found = signal.SIGKILL.value
    while pids := [pid for pid, _ in _descendants()]:
        _signal(pids, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
        status = _reap(child)
        found = found if status is None else status
    return found


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _descendants() -> list[tuple[int, str]]:
    """Return the descendants of this process, each with its state as in ps(1)."""
    children: dict[int, list[tuple[int, str]]] = {}
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append((pid, state))
    found: list[tuple[int, str]] = []
    parents = [os.getpid()]
    while parents:
        of_parent = children.get(parents.pop(), [])
        found += of_parent
        parents += [pid for pid, _ in of_parent]
    return found


def _processes() -> list[tuple[int, int, str]]:
    if not _IS_LINUX:
        listing = subprocess.run(
            ["/bin/ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, check=True, text=True
        ).stdout
        rows = [line.split() for line in listing.splitlines()]
        return [(int(pid), int(parent), state[0]) for pid, parent, state in rows]
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double what is loaded here
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - ditto
                # The name before it may contain anything, brackets and spaces too: proc(5).
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                found.append((int(name), int(parent), state.decode()))
    return found


# --- the command's side of the fork ---------------------------------------------------------------


def _start(owner: str, command: list[str]) -> int:
    guard = os.getpid()
    # Until the command runs, its process has the guard's handlers and would lose a signal.
    runs, starts = os.pipe()  # exec closes both ends
    child = os.fork()
    if child != 0:
        os.close(starts)
        os.read(runs, 1)
        os.close(runs)
        return child
    try:
        _become(owner)
        # After the change of user, which takes it away.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:  # otherwise it died before the line above
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            # What the parent wants held for as long as the guard lives.
            os.closerange(3, starts)
            os.closerange(starts + 1, 1024)
            os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _become(owner: str) -> None:
    """Become `UID:GID`; an empty owner leaves everything as it is.

    Of root's powers one is kept: to reach files whatever the directories above them allow. A
    checkout in root's home, where nobody else may look, works like any other one.
    """
    if not owner:
        return
    user, group = map(int, owner.split(":"))
    os.setgroups([])
    os.setgid(group)
    # Or access(2), with which PostgreSQL looks for its programs, would not count the power.
    _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setuid(user)
    if _IS_LINUX:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        kept = 1 << _CAP_DAC_OVERRIDE
        # Effective, permitted, inheritable; then the same for the upper half of the bits.
        sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
        if ctypes.CDLL(None).capset(header, sets) == 0:  # a container may have taken it away
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _prctl(*arguments: int) -> None:
    if _IS_LINUX:
        padded = [*arguments, 0, 0, 0, 0][:5]
        ctypes.CDLL(None).prctl(*(ctypes.c_ulong(each) for each in padded))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
