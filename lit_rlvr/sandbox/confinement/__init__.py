"""What the kernel offers to keep a process in: one file per mechanism, in ctypes, with no package and no compiler."""
