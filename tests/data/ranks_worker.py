"""One of two ranks: `python ranks_worker.py RANK STORE` prints what it saw."""

import sys
import threading

import torch.distributed as dist

from lit_rlvr.data.ranks import Ranks

rank, store = int(sys.argv[1]), sys.argv[2]


def broken_on_one() -> list[str]:
    if rank == 1:
        raise ZeroDivisionError("a bug on rank 1")
    return ["fine"]


dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
ranks = Ranks(rank, 2)
ranks.check_process_group()
own = ranks.on_own_group()
beside: list[list[str]] = []
# A second thread talks at the same time, not in step with the first one: on one group their messages would mix.
thread = threading.Thread(target=lambda: beside.extend(own.gather_from(lambda i=i: [f"{rank} {i}"]) for i in range(40)))
thread.start()
print([ranks.gather_from(lambda i=i: [f"{rank} {i} of the first"]) for i in range(20)])
thread.join()
own.leave_own_group()
print(beside)
print(ranks.gather_from(lambda: [f"{item}!" for item in ranks.share("abcde")]))
try:
    ranks.gather_from(broken_on_one)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
dist.destroy_process_group()
