"""Ways into the engine: in the same process without sockets, and over gRPC from others."""
