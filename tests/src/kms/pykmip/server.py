"""PyKMIP's own server, whose child processes end with it.

The server forks one process for its policies and one to watch their folder, and leaves them behind when it is killed.
Nothing else of it is changed. Arguments: those of pykmip-server.
"""

import ctypes
import os
import signal
import sys

from kmip.services.server.server import main

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    libc = ctypes.CDLL(None)
    os.register_at_fork(after_in_child=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    sys.exit(main())
