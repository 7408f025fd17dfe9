"""Ways into the engine: in the same process without sockets, and over gRPC from others."""

import os

# gRPC's own handling of forks makes the fork crash when servers run on other threads, as ours do, and writes to
# stderr at every fork. It is read when gRPC starts, so it is set here. What we do instead: see forks.py.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
