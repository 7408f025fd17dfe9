"""A small HTTP service with a bad start: it answers its first calls with 503, then with the public holidays.

    python notebooks/holiday_service.py --fail 2

    GET /holidays/2013  -> 503 {"error": ...} at first, --fail times; then 200 [{"date": ..., "name": ...}]
    GET /calls          -> 200 {"answered": [503, 503, 200]}: the status of every call so far

It listens on 127.0.0.1, on a free port unless --port names one, and prints its address as the first line on
stdout. It ends when its stdin is closed: whoever started it may be killed at any moment, and it must not stay
behind. Only the standard library is used, so that any Python runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOLIDAYS = Path(__file__).resolve().parent.parent / "data" / "holidays-2013.json"


class HolidayServer(ThreadingHTTPServer):
    """Counts the calls and decides which of them fail."""

    daemon_threads = True

    def __init__(self, port: int, fail: int) -> None:
        super().__init__(("127.0.0.1", port), HolidayHandler)
        self.fail = fail
        self.answered: list[int] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_status(self) -> int:
        with self.lock:
            status = 503 if len(self.answered) < self.fail else 200
            self.answered.append(status)
            return status


class HolidayHandler(BaseHTTPRequestHandler):
    server: HolidayServer

    def do_GET(self) -> None:
        if self.path == "/holidays/2013":
            if self.server.next_status() == 503:
                self.reply(503, {"error": "the holiday service is still warming up"})
            else:
                self.reply(200, json.loads(HOLIDAYS.read_text(encoding="utf-8")))
        elif self.path == "/calls":
            with self.server.lock:
                self.reply(200, {"answered": self.server.answered})
        else:
            self.reply(404, {"error": f"no such page: {self.path}; there are /holidays/2013 and /calls"})

    def reply(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal quiet; /calls says what happened."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A holiday service that fails its first calls.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--fail", type=int, default=2, help="how many calls to answer with 503 first")
    options = parser.parse_args()
    with HolidayServer(options.port, options.fail) as server:
        print(server.url, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with suppress(KeyboardInterrupt):
            sys.stdin.read()  # until the process that started us closes it, or dies


if __name__ == "__main__":
    main()
