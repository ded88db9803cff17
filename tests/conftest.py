"""What holds for every test: signals that tests send arrive, and tests beside each other take one thread each."""

import os
import signal

# Also where the tests run under `nohup` or in the background.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# Before torch and Taichi are imported: both read it, and so do the programs that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
