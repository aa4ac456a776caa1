"""A configfs report tree with the kernel's semantics: generations, one report per write, injected errors.

Modelled on drivers/virt/coco/tsm.c: each accepted write to `inblob` moves the generation; the first read of
`outblob` after a write makes a report and later reads return the same; an instance knows no owner, so
that another process can write in between.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class _Instance:
    generation: int = 0
    read_generation: int = -1
    inblob: bytes = b""
    report: bytes = b""


@dataclass(slots=True)
class ConfigFs:
    """What the adapter calls; `faults` are raised by the next reads of `outblob`, in order."""

    provider: str
    make_report: Callable[[bytes], bytes]
    faults: deque[int] = field(default_factory=deque)
    before_read: Callable[[ConfigFs, Path], None] | None = None
    after_read: Callable[[ConfigFs, Path], None] | None = None
    instances: dict[Path, _Instance] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)
    reports: int = 0
    absent: int = 0
    """Errno of mkdir where the kernel has no provider."""

    def make(self, directory: Path) -> None:
        """mkdir(2)."""
        if self.absent:
            raise OSError(self.absent, os.strerror(self.absent))
        if directory in self.instances:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self.instances[directory] = _Instance()
        self.made.append(directory)

    def remove(self, directory: Path) -> None:
        """rmdir(2)."""
        del self.instances[directory]

    def write(self, attribute: Path, value: bytes) -> None:
        """A write to `inblob`."""
        assert attribute.name == "inblob"
        if len(value) != 64:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        instance = self.instances[attribute.parent]
        instance.inblob = value
        instance.generation += 1

    def read(self, attribute: Path, bytes_max: int) -> bytes:
        """A read of an attribute."""
        instance = self.instances[attribute.parent]
        if attribute.name == "provider":
            return self.provider.encode() + b"\n"
        if attribute.name == "generation":
            return b"%d\n" % instance.generation
        assert attribute.name == "outblob"
        if self.before_read is not None:
            hook, self.before_read = self.before_read, None
            hook(self, attribute.parent)
        if self.faults:
            number = self.faults.popleft()
            raise OSError(number, os.strerror(number))
        if not instance.inblob:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if instance.read_generation != instance.generation:
            instance.report = self.make_report(instance.inblob)
            instance.read_generation = instance.generation
            self.reports += 1
        report = instance.report[: bytes_max + 1]
        if self.after_read is not None:
            hook, self.after_read = self.after_read, None
            hook(self, attribute.parent)
        return report
