"""The demo's producers and consumers: NSQ by plain sockets, RabbitMQ by pika. Run by scripts/demo."""

import argparse
import collections
import json
import os
import socket
import struct
import sys
import time
import urllib.request

import pika

BATCH = 200
ROUNDS = 3
INVOICES = 2000


def heading(text):
    print(f"\n== {text}", flush=True)


def note(text):
    print(f"   {text}", flush=True)


def fail(text):
    print(f"error: {text}", file=sys.stderr)
    sys.exit(1)


class Nsq:
    """Just enough of an NSQ client to see each byte's worth."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.input = b""
        self.socket.sendall(b"  V2")

    def send(self, command, body=b""):
        self.socket.sendall(command.encode() + b"\n" + body)

    def frame(self):
        """The next frame that is no heartbeat: its type and data."""
        while True:
            while len(self.input) < 4 or len(self.input) < 4 + self.size():
                data = self.socket.recv(1 << 16)
                if not data:
                    fail("the NSQ connection was closed")
                self.input += data
            end = 4 + self.size()
            frame, self.input = self.input[4:end], self.input[end:]
            kind, data = struct.unpack(">i", frame[:4])[0], frame[4:]
            if data == b"_heartbeat_":
                self.send("NOP")
            elif kind == 1:
                fail(f"the server answered {data.decode()}")
            else:
                return kind, data

    def size(self):
        return struct.unpack(">i", self.input[:4])[0]

    def publish(self, topic, messages):
        members = b"".join(struct.pack(">i", len(m)) + m for m in messages)
        body = struct.pack(">i", len(messages)) + members
        self.send(f"MPUB {topic}", struct.pack(">i", len(body)) + body)

    def ok(self):
        _, data = self.frame()
        if data != b"OK":
            fail(f"the server answered {data.decode()}")


def get(api, path):
    with urllib.request.urlopen(f"http://{api}{path}", timeout=10) as answer:
        return json.load(answer)


def route(api, name):
    return next(r for r in get(api, "/v1/routes")["routes"] if r["name"] == name)


def await_route(api, name, states):
    until = time.monotonic() + 30
    while True:
        now = route(api, name)
        if now["state"] in states:
            return now
        if time.monotonic() > until:
            fail(f"route {name} is {now['state']}: {now['reason']}")
        time.sleep(0.05)


def limit_text(limit):
    if not limit:
        return "none"
    parts = []
    if limit["messages_per_second"]:
        parts.append(f"{limit['messages_per_second']:.0f} messages/s, burst {limit['messages_burst']}")
    if limit["bytes_per_second"]:
        parts.append(f"{limit['bytes_per_second'] / 2**20:.0f} MiB/s")
    return f"{'; '.join(parts)}; it held the route back for {limit['throttled_seconds']:.2f} s"


def show_books(api, name, before):
    after = route(api, name)
    counters = {k: v - before["counters"][k] for k, v in after["counters"].items()}
    moved = ", ".join(f"{k} {v}" for k, v in counters.items() if v)
    note(f"its books:  {moved}, pending {after['pending']}")
    note(f"its limit:  {limit_text(after['limit'])}")


def orders_out(arguments, amqp, run):
    heading("orders-to-rabbitmq: an NSQ producer publishes, RabbitMQ has it before the producer's OK")
    before = await_route(arguments.api, "orders-to-rabbitmq", ["running"])
    note(f"{before['from']}  ->  {before['to']}")
    with open(arguments.orders, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    orders = [dict(order, run=f"{run}-{n}") for n in range(ROUNDS) for order in lines]
    bodies = [json.dumps(order, separators=(",", ":")).encode() for order in orders]
    note(f"in:   {len(bodies)} orders ({len(lines)} of {arguments.orders}, {ROUNDS} times), MPUB of {BATCH}")
    note(f"      {bodies[0].decode()}")
    producer = Nsq(arguments.nsq)
    began = time.monotonic()
    batches = [bodies[at : at + BATCH] for at in range(0, len(bodies), BATCH)]
    # A few batches are under way at once; their OKs come in order.
    for n, batch in enumerate(batches):
        producer.publish("orders", batch)
        if n >= 4:
            producer.ok()
    for _ in batches[-4:]:
        producer.ok()
    seconds = time.monotonic() - began
    note(f"      all answered OK, which means confirmed by RabbitMQ: {seconds:.2f} s, {len(bodies) / seconds:.0f} messages/s")

    wanted = collections.Counter((o["run"], o["order"]) for o in orders)
    keys, sample, others = collections.Counter(), None, []
    channel = amqp.channel()
    channel.basic_qos(prefetch_count=1000)
    last = None
    for method, properties, body in channel.consume("orders", inactivity_timeout=5):
        if method is None:
            break
        order = json.loads(body)
        if (order.get("run"), order.get("order")) not in wanted:
            others.append(method.delivery_tag)
            continue
        wanted[order["run"], order["order"]] -= 1
        keys[method.routing_key] += 1
        sample = sample or (method, properties, body)
        channel.basic_ack(method.delivery_tag)
        last = method.delivery_tag
        if sum(keys.values()) == len(bodies):
            break
    for tag in others:
        channel.basic_nack(tag, requeue=True)
    channel.cancel()
    channel.close()
    if last is None or any(wanted.values()):
        fail(f"{sum(n != 0 for n in wanted.values())} orders are missing or double")
    method, properties, body = sample
    note(f"out:  {sum(keys.values())} orders from the queue orders, each exactly once")
    note(f"      routing keys, from the body: {', '.join(f'{k} {n}' for k, n in sorted(keys.items()))}")
    note(f"      {method.routing_key}  message_id {properties.message_id}  persistent {properties.delivery_mode == 2}")
    note(f"      {body.decode()}")
    show_books(arguments.api, "orders-to-rabbitmq", before)


def invoices_in(arguments, amqp, run):
    heading("invoices-as-a-channel: a RabbitMQ queue is an NSQ channel, FIN is the ack")
    before = route(arguments.api, "invoices-as-a-channel")
    note(f"{before['from']}  ->  {before['to']}")
    consumer = Nsq(arguments.nsq)
    consumer.send("SUB invoices billing")
    consumer.ok()
    # The route takes from the queue what somebody is ready for.
    consumer.send("RDY 500")
    before = await_route(arguments.api, "invoices-as-a-channel", ["running"])
    channel = amqp.channel()
    channel.confirm_delivery()
    began = time.monotonic()
    for n in range(INVOICES):
        body = json.dumps({"invoice": n, "run": run, "cents": 100 + n})
        properties = pika.BasicProperties(delivery_mode=2, message_id=f"{run}-{n}")
        channel.basic_publish("", "invoices", body, properties, mandatory=True)
    note(f"in:   {INVOICES} invoices published to the queue, each confirmed: {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    left, sample, again = set(range(INVOICES)), None, None
    while left:
        kind, data = consumer.frame()
        if kind != 2:
            continue
        attempts, message_id, body = data[8:10], data[10:26], json.loads(data[26:])
        attempts = struct.unpack(">H", attempts)[0]
        if body.get("run") == run and again is None:
            # The first one is given back once: it comes again, with its attempts counted.
            again = body["invoice"]
            consumer.send(f"REQ {message_id.decode()} 0")
            continue
        consumer.send(f"FIN {message_id.decode()}")
        if body.get("run") == run:
            left.discard(body["invoice"])
            if body["invoice"] == again:
                sample = f"{json.dumps(body)}  id {message_id.decode()}  attempts {attempts}"
    seconds = time.monotonic() - began
    note(f"out:  {INVOICES} messages on the channel, each finished: {seconds:.2f} s, {INVOICES / seconds:.0f} messages/s")
    note(f"      {sample}  (requeued once)")
    until = time.monotonic() + 10
    while route(arguments.api, "invoices-as-a-channel")["pending"]:
        if time.monotonic() > until:
            fail("invoices are still unacknowledged")
        time.sleep(0.02)
    consumer.send("CLS")
    while consumer.frame()[1] != b"CLOSE_WAIT":
        pass
    consumer.socket.close()
    depth = channel.queue_declare("invoices", passive=True).method.message_count
    if depth:
        fail(f"{depth} invoices are left in the queue")
    note("      and none is left in the queue: every FIN became an ack")
    show_books(arguments.api, "invoices-as-a-channel", before)


def next_steps(arguments):
    heading("What to try next (scripts/demo --keep leaves it running)")
    note(f"NSQ on {arguments.nsq}, its HTTP API and /metrics on {arguments.api}, RabbitMQ at {arguments.amqp}")
    note(f"curl -d '{{\"region\":\"eu\"}}' 'http://{arguments.api}/pub?topic=orders'")
    note(f"curl 'http://{arguments.api}/v1/routes'; curl 'http://{arguments.api}/stats'")
    note("with pynsq:")
    host = arguments.nsq
    print(
        f"""
        import nsq
        def handle(message):
            print(message.body)
            return True
        nsq.Reader(topic="invoices", channel="billing", nsqd_tcp_addresses=["{host}"], message_handler=handle)
        nsq.run()
""",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    for name in ("--nsq", "--api", "--amqp", "--orders"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()
    run = f"{os.getpid()}-{int(time.time())}"
    amqp = pika.BlockingConnection(pika.URLParameters(arguments.amqp))
    orders_out(arguments, amqp, run)
    invoices_in(arguments, amqp, run)
    amqp.close()
    next_steps(arguments)


if __name__ == "__main__":
    main()
