"""Keep freed memory in the process: on a CPU a forward otherwise spends up to a tenth of its time on page faults.

A forward allocates and frees hundreds of tensors of many megabytes. glibc takes each such block from the kernel and
gives it back, and the kernel hands it out as pages that it must find, zero and map one by one: with the published
Swin-T 450,000 page faults per picture of 800 x 1066. Kept in the heap, a block is reused as it is; the process stays
at the size of its largest forward, which it would reach anyway.
"""

import ctypes
import sys

# mallopt's parameters, of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8

HUGE = 2**31 - 1  # bytes; the largest threshold mallopt takes


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of returning them to the kernel; it holds for the whole process.

    The page and the command line call this where models run on a CPU. A program that uses the package as a library
    decides for itself, best before it starts threads: nothing else in the package changes its memory. One arena is used
    by all threads, since each further one would keep the largest forward of its own threads as well.

    Returns:
        False where there is no glibc (macOS, Windows, musl): then nothing has changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # other libraries may have a mallopt that means something else
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, HUGE), (M_ARENA_MAX, 1))
    return [mallopt(parameter, value) for parameter, value in settings] == [1, 1, 1]
