"""What runs inside the sandbox: the zygote and the programs forked from it. Imports nothing but the standard library."""
