"""machine: what a report says about where it was made."""

import os
import platform
from pathlib import Path


def machine():
    """The processor, the kernel, the C library, and whether huge pages are in use."""
    cpu = next((line.partition(":")[2].strip()
                for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
                if line.startswith("model name")), platform.machine())
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()),
            "huge_pages": pages.read_text(encoding="utf-8").strip() if pages.exists() else ""}
