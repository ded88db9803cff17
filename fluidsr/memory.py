"""How much memory this process may still take: the machine's, the control group's, the user's limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # bytes from which on a limit is none


@dataclass(frozen=True)
class Free:
    """`size` bytes are free; `bound` names what bounds them."""

    size: int
    bound: str


def free(device: str = "cpu") -> Free | None:
    """What is free for this process on `device` (`cpu` or `cuda:N`); None where the system does not report it.

    On the CPU the least of what the machine has available, what the limits of the process's control groups leave
    (their file caches count as free), and what is left of its address space.
    """
    if device.startswith("cuda"):
        import torch

        return Free(int(torch.cuda.mem_get_info(device)[0]), f"on {device}")
    bounds = [*_machine(), *_control_groups(), *_address_space()]
    return min(bounds, key=lambda bound: bound.size, default=None)


def _machine() -> Iterator[Free]:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield Free(1024 * int(line.split()[1]), "on this machine")


def _control_groups() -> Iterator[Free]:
    """Version 2 has all controllers in one tree, version 1 a tree for memory; every group above ours counts."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                root, names = _GROUPS, ("memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                root = _GROUPS / "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            group = root / path.lstrip("/")
            for folder in (group, *group.parents):
                left = _left(folder, *names)
                if left is not None:
                    yield Free(left, "within the control group's limit")
                if folder == root:
                    break


def _left(group: Path, limit: str, usage: str, cache: str) -> int | None:
    try:
        maximum = int((group / limit).read_text(encoding="ascii"))
        used = int((group / usage).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return None if maximum >= _UNLIMITED else max(0, maximum - used + int(stat.get(cache, 0)))
    except (OSError, ValueError):  # no such file; "max"
        return None


def _address_space() -> Iterator[Free]:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        maximum = resource.getrlimit(resource.RLIMIT_AS)[0]
        if maximum != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            yield Free(
                max(0, maximum - pages * os.sysconf("SC_PAGE_SIZE")), "within the limit of 'ulimit -v'"
            )
