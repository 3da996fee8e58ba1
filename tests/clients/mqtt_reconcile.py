#!/usr/bin/env python3
"""An MQTT 3.1.1 publisher that keeps accounts: what it sent, what was acknowledged, what it sent again.

Publishes N QoS 1 messages over C connections with at most W unacknowledged ones each. When a connection
breaks (a test kills the server), it connects again and sends the unacknowledged messages again in their
order, with DUP and the same packet ids (MQTT 3.1.1, 4.4), until all are acknowledged or the deadline has
passed. Only PUBACKs that were really read count as acknowledged. No dependencies, one thread.

Message i has sensor `s<i % sensors>` and event time `start_ms + (i // sensors) * step_ms`. Topic and payload
are templates with $id, $sensor, $time, $value. Progress goes to stdout, one line each: `acked 10000`.
Exit 0: all acknowledged. 1: not all, or an acknowledgement nobody asked for. 64: usage.
"""

import argparse
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from string import Template

CONNECT, CONNACK, PUBLISH_QOS1, PUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x10, 0x20, 0x32, 0x40, 0xC0, 0xD0, 0xE0
DUP = 0x08
READ_BYTES_MAX = 256 * 1024
OUT_BYTES_MAX = 64 * 1024  # more is not prepared while the server does not read
RETRY_SECONDS = 0.05
KEEP_ALIVE_SECONDS = 60
PING_SECONDS = 20


def packet(first_byte, body):
    """A control packet: first byte, remaining length (MQTT 3.1.1, 2.2.3), body."""
    length, encoded = len(body), bytearray([first_byte])
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(encoded) + body


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


class Ledger:
    """What all connections share: the messages to come and the accounts."""

    def __init__(self, options):
        self.options = options
        self.topic, self.payload = Template(options.topic), Template(options.payload)
        self.started = time.monotonic()
        self.acked = bytearray(options.messages)
        self.acked_count = self.sent = self.resent = self.connects = self.breaks = self.unexpected = 0
        self.waits = []
        self.next_progress = options.progress_every

    def message(self, number):
        options = self.options
        names = {
            "id": number,
            "sensor": f"s{number % options.sensors:05d}",
            "time": options.start_ms + number // options.sensors * options.step_ms,
            "value": number % 100,
        }
        return text(self.topic.substitute(names)), self.payload.substitute(names).encode()

    def may_send(self):
        rate = self.options.rate
        return not rate or self.sent < rate * (time.monotonic() - self.started)

    def acknowledge(self, number, waited):
        if not self.acked[number]:
            self.acked[number] = 1
            self.acked_count += 1
            self.waits.append(waited)
        if self.acked_count >= self.next_progress:
            print(f"acked {self.acked_count}", flush=True)
            self.next_progress += self.options.progress_every

    def done(self):
        return self.acked_count == self.options.messages


class Connection:
    """One client: its share of the messages, its session, its socket."""

    def __init__(self, ledger, selector, index):
        self.ledger, self.selector, self.index = ledger, selector, index
        options = ledger.options
        self.rest = iter(range(index, options.messages, options.connections))
        self.exhausted = False
        self.inflight = {}  # packet id -> (message number, time of first sending), in order of sending
        self.packet_id = 0
        self.socket, self.ready, self.retry_at = None, False, 0.0

    def connect(self):
        options = self.ledger.options
        self.read, self.out, self.ready = bytearray(), bytearray(), False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex((options.host, port(options)))
        flags = 0x02 if options.clean else 0x00
        head = text("MQTT") + bytes([4, flags]) + struct.pack(">H", KEEP_ALIVE_SECONDS)
        self.out += packet(CONNECT, head + text(f"{options.client}-{self.index}"))
        self.wrote_at = time.monotonic()
        self.selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def close(self):
        self.selector.unregister(self.socket)
        self.socket.close()
        self.ledger.breaks += self.ready
        self.socket, self.ready = None, False
        self.retry_at = time.monotonic() + RETRY_SECONDS

    def publish(self, packet_id, number, flags):
        topic, payload = self.ledger.message(number)
        self.out += packet(PUBLISH_QOS1 | flags, topic + struct.pack(">H", packet_id) + payload)

    def fill(self):
        """Prepares new messages as far as the window, the rate and the socket allow."""
        window = self.ledger.options.window
        while len(self.inflight) < window and len(self.out) < OUT_BYTES_MAX and self.ledger.may_send():
            number = next(self.rest, None)
            if number is None:
                self.exhausted = True
                return
            self.packet_id = self.free_packet_id()
            self.inflight[self.packet_id] = (number, time.monotonic())
            self.publish(self.packet_id, number, 0)
            self.ledger.sent += 1

    def free_packet_id(self):
        candidate = self.packet_id % 65535 + 1
        while candidate in self.inflight:
            candidate = candidate % 65535 + 1
        return candidate

    def resend(self):
        """After a new connection: everything unacknowledged, in order, marked DUP, under its old packet id."""
        for packet_id, (number, _) in self.inflight.items():
            self.publish(packet_id, number, DUP)
        self.ledger.resent += len(self.inflight)

    def on_readable(self):
        data = self.socket.recv(READ_BYTES_MAX)
        if not data:
            raise ConnectionError("closed by the server")
        self.read += data
        start = 0
        # Everything a publisher receives is shorter than 128 bytes, so its length is one byte.
        while len(self.read) - start >= 2 and len(self.read) - start >= 2 + self.read[start + 1]:
            end = start + 2 + self.read[start + 1]
            self.on_packet(self.read[start], self.read[start + 2 : end])
            start = end
        del self.read[:start]

    def on_packet(self, kind, body):
        if kind == PUBACK:
            self.on_puback(body[0] << 8 | body[1])
        elif kind == CONNACK and body[1] == 0:
            self.ready = True
            self.ledger.connects += 1
            self.resend()
        elif kind != PINGRESP:
            raise ConnectionError(f"unexpected packet {kind:#x} {bytes(body).hex()}")

    def on_puback(self, packet_id):
        entry = self.inflight.pop(packet_id, None)
        if entry is None:
            self.ledger.unexpected += 1
        else:
            self.ledger.acknowledge(entry[0], time.monotonic() - entry[1])

    def on_writable(self):
        if self.out:
            written = self.socket.send(self.out)
            del self.out[:written]
            self.wrote_at = time.monotonic()

    def turn(self, events):
        """One round of a connected socket. Raises OSError when the connection is gone."""
        if events & selectors.EVENT_READ:
            self.on_readable()
        if self.ready:
            self.fill()
            if time.monotonic() - self.wrote_at > PING_SECONDS:
                self.out += packet(PINGREQ, b"")
        if events & selectors.EVENT_WRITE or self.out and self.ready:
            self.on_writable()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
        if self.selector.get_key(self.socket).events != wanted:
            self.selector.modify(self.socket, wanted, self)

    def wants_turn(self):
        """Whether there may be something to send though the socket says nothing."""
        return self.ready and not self.exhausted and len(self.inflight) < self.ledger.options.window


def port(options):
    if options.port_file:
        with open(options.port_file) as file:
            return int(file.read())
    return options.port


def step(connection, events):
    try:
        if connection.socket is None and time.monotonic() >= connection.retry_at:
            connection.connect()
        elif connection.socket is not None:
            connection.turn(events)
    except BlockingIOError:
        pass
    except OSError as error:
        if connection.ready and connection.ledger.options.verbose:
            print(f"connection {connection.index}: {error}", file=sys.stderr)
        connection.close()


def run(ledger, stop):
    deadline = ledger.started + ledger.options.deadline_seconds
    with selectors.DefaultSelector() as selector:
        connections = [Connection(ledger, selector, index) for index in range(ledger.options.connections)]
        while not ledger.done() and not stop and time.monotonic() < deadline:
            events = {key.data: mask for key, mask in selector.select(0.005)} if selector.get_map() else {}
            for connection in connections:
                if connection in events or connection.socket is None or connection.wants_turn():
                    step(connection, events.get(connection, 0))
            if not events:
                time.sleep(0.001)
        for connection in connections:
            if connection.ready:
                try:
                    connection.socket.send(packet(DISCONNECT, b""))
                except OSError:
                    pass
            if connection.socket is not None:
                connection.socket.close()


def ranges(flags):
    """[[first, last], …] of the numbers whose flag is set."""
    found = []
    for number, flag in enumerate(flags):
        if flag and found and found[-1][1] == number - 1:
            found[-1][1] = number
        elif flag:
            found.append([number, number])
    return found


def report(ledger):
    waits = sorted(ledger.waits) or [0.0]
    at = lambda share: round(waits[min(len(waits) - 1, int(share * len(waits)))] * 1000, 3)
    seconds = time.monotonic() - ledger.started
    return {
        "messages": ledger.options.messages,
        "complete": ledger.done(),
        "sent": ledger.sent,  # each message once, however often it went out
        "resent": ledger.resent,
        "acked": ledger.acked_count,
        "acked_ranges": ranges(ledger.acked),
        "unexpected_acks": ledger.unexpected,
        "connects": ledger.connects,
        "breaks": ledger.breaks,
        "seconds": round(seconds, 3),
        "acked_per_second": round(ledger.acked_count / seconds),
        "ack_ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)},
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=1883)
    add("--port-file", help="read before each connect: a server that comes back on another port")
    add("--messages", type=int, default=100_000)
    add("--connections", type=int, default=10)
    add("--window", type=int, default=100, help="unacknowledged messages a connection, 1 to 65535")
    add("--sensors", type=int, default=1000)
    add("--topic", default="reconcile/$sensor/telemetry")
    add("--payload", default='{"seq":$id,"ts":$time,"value":$value}')
    add("--start-ms", type=int, default=1_767_225_600_000)
    add("--step-ms", type=int, default=1000)
    add("--rate", type=float, default=0, help="messages a second over all connections; 0: as fast as it goes")
    add("--clean", action="store_true", help="clean session: the server forgets the client at each break")
    add("--client", default="reconcile", help="start of the client ids")
    add("--deadline-seconds", type=float, default=120)
    add("--progress-every", type=int, default=10_000)
    add("--report", help="file for the report (JSON); default: last line of stdout")
    add("--verbose", action="store_true")
    options = parser.parse_args()
    if not 1 <= options.window <= 65535 or min(options.messages, options.connections, options.sensors) < 1:
        parser.exit(64, "window must be 1 to 65535; messages, connections, sensors at least 1\n")
    return options


def main():
    ledger, stop = Ledger(arguments()), []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    run(ledger, stop)
    accounts, path = report(ledger), ledger.options.report
    if path:
        with open(path + ".part", "w") as file:
            json.dump(accounts, file)
        os.replace(path + ".part", path)
    else:
        print(json.dumps(accounts))
    sys.exit(0 if accounts["complete"] and not ledger.unexpected else 1)


if __name__ == "__main__":
    main()
