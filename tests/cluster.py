"""Worker processes on 127.0.0.1, for the tests."""

import json
import socket


def tf_configs(count: int = 2) -> list[str]:
    """TF_CONFIG of each of `count` workers."""
    sockets = [socket.socket() for _ in range(count)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    for free in sockets:
        free.close()
    return [json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}) for index in range(count)]
