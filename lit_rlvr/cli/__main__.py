"""`python -m lit_rlvr.cli` is `lit-rlvr`."""

import sys

from lit_rlvr.cli.main import main

sys.exit(main())
