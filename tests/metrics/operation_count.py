"""Which tensor operations run."""

from torch.utils._python_dispatch import TorchDispatchMode


class CountOperations(TorchDispatchMode):
    """Lists the tensor operations below autograd: about the kernels that a GPU would launch."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))

    def reads(self):
        """Return the operations that wait for the device."""
        return [name for name in self.names if "_local_scalar_dense" in name or "nonzero" in name]
