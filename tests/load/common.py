"""What the load scripts share: the configuration under load, building, and what the kernel says of a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

SCHEMA = {
    "type": "object",
    "required": ["ts", "speed_kmh"],
    "properties": {
        "ts": {"type": "integer"},
        "speed_kmh": {"type": "number", "minimum": 0, "maximum": 400},
        "limit_kmh": {"type": "number", "minimum": 0},
        "state": {"type": "string", "maxLength": 16},
        "ok": {"type": "boolean"},
    },
}

CONFIG = """
[gateway]
id = "load"
data_dir = "data"
[listen.mqtt]
bind = "127.0.0.1:{port}"
[listen.http]
bind = "127.0.0.1:{http}"
[source.load]
topic = "load/{{sensor}}/telemetry"
format = "json"
sensor = "{{sensor}}"
time = {{ at = "/ts", unit = "ms" }}
schema = "load"
[pipeline.speed]
from = ["load"]
where = "speed_kmh >= 0.0"
window = {{ kind = "tumbling", size = "10s" }}
select = {{ avg_speed = "avg(speed_kmh)", limit = "max(limit_kmh)", n = "count()" }}
to = ["rows"]
[alert.speeding]
on = "speed"
when = "avg_speed > limit * 1.1"
severity = "critical"
to = ["rows"]
[sink.rows]
kind = "file"
path = "{rows}"
start = "earliest"
"""


def build(profile="release"):
    """Builds the daemon and the flood; where they are."""
    for what in (["--bin", "forebay"], ["-p", "forebay-mqtt", "--example", "flood"]):
        subprocess.run(["cargo", "build", "--profile", profile, "--quiet", *what], cwd=ROOT, check=True)
    return TARGET / {"release": "release", "dev": "debug"}[profile]


def prepare(directory, port, http, rows="rows.ndjson"):
    """The configuration under load in a new directory; where it is."""
    (directory / "schemas").mkdir(parents=True)
    (directory / "schemas/load.json").write_text(json.dumps(SCHEMA))
    config = directory / "forebay.toml"
    config.write_text(CONFIG.format(port=port, http=http, rows=rows))
    return config


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_port(port, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def flood_command(built, port, connections, sensors, messages, *rate):
    words = [built / "examples/flood", f"127.0.0.1:{port}", connections, sensors, messages, *rate]
    return [str(word) for word in words]


def flood(*arguments):
    done = subprocess.run(flood_command(*arguments), capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"flood failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def lag(http):
    """Durable records that the lane has not processed; None while the page cannot be read."""
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5).read().decode()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("forebay_lane_lag_records{"):
            return float(line.rsplit(" ", 1)[1])
    return None
