"""The gRPC service: sessions over the wire. `connect` is the client."""
