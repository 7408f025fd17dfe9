"""The table of hazards: qualified name -> why a workflow must not use it, and what to write instead.

A key matches the name itself and everything below it: "requests" matches "requests.get". The longest key wins, and a key
with the value None allows what a shorter one forbids. A name in `_CALLS_ONLY` matters only when it is called.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rule:
    level: Literal["error", "warning"]
    why: str
    remedy: str


def _error(why: str, remedy: str) -> Rule:
    return Rule("error", why, remedy)


_ACTIVITY = "Move it into an activity and await its result."
_CLOCK = _error(
    "differs at each replay", "Use workflow.now() (from temporalio import workflow), or workflow.time()."
)
_TIMER = _error("blocks the worker", "Write `await asyncio.sleep(...)`: in a workflow it is a durable timer.")
_RANDOM = _error("differs at each replay", "Use workflow.random(), for example workflow.random().random().")
_UUID = _error("differs at each replay", "Use workflow.uuid4().")
_PROCESS = _error(
    "differs between the processes that may continue the run",
    "Pass it as an argument, or read it in an activity.",
)
_FILES = _error("reads or writes outside the workflow", _ACTIVITY)
_NETWORK = _error("talks to another program, which may answer differently at replay", _ACTIVITY)
_THREADS = _error(
    "runs code in an order that replay cannot repeat",
    "Use asyncio.gather or asyncio.create_task, or an activity.",
)
_LOOP = _error("does not work on a workflow's event loop", _ACTIVITY)
_ASKS = _error("waits for a person at this process", "Wait for a signal or an update instead.")
_PRINT = Rule(
    "warning", "prints again at each replay", "Use workflow.logger.info(...), or print in an activity."
)
_LOGGING = Rule("warning", "logs again at each replay", "Use workflow.logger.")
_HASH = Rule("warning", "differs between processes", "Use a value of the object itself, or hashlib.")
_AS_COMPLETED = Rule(
    "warning", "has no fixed order in a workflow", "Use the function of this name in temporalio.workflow."
)
_DYNAMIC = Rule("warning", "runs code that cannot be checked or captured", "Write the code as a function.")

_RULES: dict[str, Rule | None] = {
    **dict.fromkeys(
        ("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
         "time.process_time", "time.process_time_ns", "time.localtime", "time.gmtime", "time.ctime",
         "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
         "pandas.Timestamp.now", "pandas.Timestamp.today"),
        _CLOCK,
    ),
    "time.sleep": _TIMER,
    "random": _RANDOM,
    "random.Random": None,
    "random.Random()": None,
    "random.SystemRandom": _RANDOM,
    "secrets": _RANDOM,
    "numpy.random": _RANDOM,
    "numpy.random.default_rng": None,
    "numpy.random.default_rng()": None,
    "numpy.random.Generator": None,
    "uuid.uuid1": _UUID,
    "uuid.uuid4": _UUID,
    "uuid.getnode": _PROCESS,
    "os": _FILES,
    **dict.fromkeys(("os.fspath", "os.PathLike", "os.sep", "os.linesep", "os.path", "os.fsdecode", "os.fsencode"), None),
    **dict.fromkeys(
        ("os.path.exists", "os.path.isfile", "os.path.isdir", "os.path.getsize", "os.path.getmtime", "os.path.realpath",
         "os.path.abspath", "os.path.islink", "os.path.samefile"),
        _FILES,
    ),
    **dict.fromkeys(
        ("os.environ", "os.getenv", "os.getpid", "os.getcwd", "os.cpu_count", "os.uname", "os.getlogin", "platform",
         "getpass", "sys.argv", "socket.gethostname"),
        _PROCESS,
    ),
    "os.urandom": _RANDOM,
    "builtins.open": _FILES,
    "io.open": _FILES,
    "pathlib.Path.cwd": _PROCESS,
    "pathlib.Path.home": _PROCESS,
    **dict.fromkeys(
        (f"pathlib.Path().{name}" for name in (
            "open", "read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "is_dir", "iterdir",
            "glob", "rglob", "mkdir", "unlink", "rename", "replace", "stat", "touch", "resolve", "rmdir")),
        _FILES,
    ),
    **dict.fromkeys(("shutil", "tempfile", "glob", "fileinput", "sqlite3", "dbm", "shelve"), _FILES),
    **dict.fromkeys(
        ("requests", "httpx", "aiohttp", "urllib.request", "urllib3", "http.client", "http.server", "socket", "ssl", "ftplib",
         "smtplib", "imaplib", "poplib", "telnetlib", "xmlrpc", "duckdb", "psycopg", "psycopg2", "asyncpg", "pymongo",
         "redis", "sqlalchemy", "boto3", "botocore", "google.cloud", "openai", "anthropic", "paramiko", "webbrowser"),
        _NETWORK,
    ),
    **dict.fromkeys(("requests.exceptions", "httpx.HTTPError", "sqlalchemy.exc", "duckdb.Error", "ssl.SSLError"), None),
    "subprocess": _NETWORK,
    **dict.fromkeys(("subprocess.CalledProcessError", "subprocess.TimeoutExpired"), None),
    "threading": _THREADS,
    "multiprocessing": _THREADS,
    "concurrent.futures": _THREADS,
    **dict.fromkeys(("threading.Lock", "threading.RLock"), _error(
        "blocks the worker", "Use asyncio.Lock; a workflow runs on one thread.")),
    **dict.fromkeys(
        ("asyncio.to_thread", "asyncio.run", "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell",
         "asyncio.open_connection", "asyncio.start_server", "asyncio.get_event_loop().run_in_executor",
         "asyncio.get_running_loop().run_in_executor"),
        _LOOP,
    ),
    "asyncio.wait": _AS_COMPLETED,
    "asyncio.as_completed": _AS_COMPLETED,
    "builtins.input": _ASKS,
    "builtins.breakpoint": _ASKS,
    "builtins.print": _PRINT,
    "builtins.hash": _HASH,
    "builtins.id": _HASH,
    "builtins.exec": _DYNAMIC,
    "builtins.eval": _DYNAMIC,
    "IPython.display": _PRINT,
    **dict.fromkeys(
        (f"logging.{name}" for name in ("debug", "info", "warning", "error", "exception", "critical", "log")), _LOGGING
    ),
    **dict.fromkeys(
        (f"pandas.{name}" for name in (
            "read_csv", "read_parquet", "read_json", "read_excel", "read_sql", "read_table", "read_feather", "read_html")),
        _FILES,
    ),
}  # fmt: skip
_VALUES = {"os.environ", "sys.argv"}
"""Names that matter wherever they stand; the others matter when they are called or passed on."""


def rule_for(name: str, call: ast.Call | None) -> Rule | None:
    """The rule that a use of `name` breaks, if any.

    Args:
        name: what is used, "time.time"; `()` stands for the result of a call: "pathlib.Path().read_text".
        call: the call, when it is called.
    """
    if name == "random.Random" and call is not None:
        return _RANDOM if not call.args and not call.keywords else None  # without a seed
    if name == "numpy.random.default_rng" and call is not None:
        return _RANDOM if not call.args and not call.keywords else None
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key in _RULES:
            rule = _RULES[key]
            return rule if rule is not None and _matters(name, key, call) else None
    return None


def _matters(name: str, key: str, call: ast.Call | None) -> bool:
    if key in _VALUES or call is not None:
        return True
    last = name.rpartition(".")[2]
    if (
        name == key or last[:1].isupper()
    ):  # a module, a function or a type that is only named, as in `except httpx.HTTPError`
        return name in _RULES and "." in name and not name.startswith("builtins.") and not last[:1].isupper()
    return False
