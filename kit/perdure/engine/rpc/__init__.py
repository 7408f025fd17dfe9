"""RPC handlers: `async (engine, request, metadata) -> response`. Each module has a HANDLERS table by RPC name."""
