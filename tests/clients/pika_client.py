"""The AMQP side on pika: declares, publishes with confirms, consumes, counts."""

import argparse
import json
import time

import pika
import pika.exceptions

from driver import endless, fail, numbers, report, succeed


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--uri", required=True)
    verbs = parser.add_subparsers(dest="verb", required=True)

    declare = verbs.add_parser("declare", help="a durable queue, and its binding if an exchange is named")
    declare.add_argument("--queue", required=True)
    declare.add_argument("--type", default="classic", choices=["classic", "quorum", "stream"])
    declare.add_argument("--arguments", type=json.loads, default={}, help="x-arguments as JSON")
    declare.add_argument("--exchange", default="")
    declare.add_argument("--exchange-type", default="direct")
    declare.add_argument("--routing-key", default="")

    publish = verbs.add_parser("publish", help="publish PREFIX-0 ... persistent, mandatory, each confirmed")
    publish.add_argument("--exchange", default="")
    publish.add_argument("--routing-key", required=True)
    publish.add_argument("--count", type=int, default=1)
    publish.add_argument("--prefix", default="m")
    endless(publish)
    publish.add_argument("--body", help="this body, instead of PREFIX-N")
    publish.add_argument("--patience", type=float, default=0, help="seconds to connect and publish again after an error")
    publish.add_argument("--properties", type=json.loads, default={}, help="BasicProperties as JSON")

    consume = verbs.add_parser("consume", help="consume until COUNT messages are acknowledged")
    consume.add_argument("--queue", required=True)
    consume.add_argument("--count", type=int, default=1)
    consume.add_argument("--prefetch", type=int, default=100)
    consume.add_argument("--requeue", type=int, default=0, help="nack the first so many back, once each")
    consume.add_argument("--reject", type=int, default=0, help="reject the first so many for good")
    consume.add_argument("--distinct", type=int, default=0, help="1: COUNT different bodies, however often each comes")
    consume.add_argument("--patience", type=float, default=0, help="seconds to connect again after an error")
    consume.add_argument("--seconds", type=float, default=60.0, help="give up after")

    for name in ("length", "purge", "delete"):
        verbs.add_parser(name).add_argument("--queue", required=True)
    return parser.parse_args()


def declare(channel, given):
    kinds = {} if given.type == "classic" else {"x-queue-type": given.type}
    channel.queue_declare(given.queue, durable=True, arguments={**kinds, **given.arguments})
    if given.exchange:
        channel.exchange_declare(given.exchange, given.exchange_type, durable=True)
        channel.queue_bind(given.queue, given.exchange, given.routing_key)
    succeed(1)


def attempt(channel, given, body):
    """Publishes once, and says what the broker made of it."""
    properties = pika.BasicProperties(**{"delivery_mode": 2, **given.properties})
    try:
        channel.basic_publish(given.exchange, given.routing_key, body.encode(), properties, mandatory=True)
    except pika.exceptions.UnroutableError:
        return "returned"
    except pika.exceptions.NackError:
        return "nacked"
    return "confirmed"


def publish(channel, given, done):
    """Publishes what is not done yet; `done` has the numbers that were confirmed or, without patience, refused."""
    channel.confirm_delivery()
    for number in numbers(given):
        if number in done:
            continue
        body = f"{given.prefix}-{number}" if given.body is None else given.body
        outcome = attempt(channel, given, body)
        report(outcome, body=body)
        # A broker that has just come back may not have all of its queues yet.
        give_up = time.monotonic() + given.patience
        while outcome != "confirmed" and time.monotonic() < give_up:
            channel.connection.sleep(0.2)
            outcome = attempt(channel, given, body)
            report(outcome, body=body)
        done[number] = outcome
        channel.connection.sleep(given.pace)
    succeed(list(done.values()).count("confirmed"))


def plain(properties):
    """The properties that are set, as JSON can say them."""
    return {name: value for name, value in vars(properties).items() if value is not None}


def consume(channel, given, done):
    """Consumes until enough is acknowledged; `done` has the bodies so far, each with how often it came."""
    channel.basic_qos(prefetch_count=given.prefetch)
    to_requeue, to_reject = given.requeue, given.reject
    enough = lambda: len(done) if given.distinct else sum(done.values())
    for method, properties, body in channel.consume(given.queue, inactivity_timeout=given.seconds):
        if method is None:
            fail(f"only {enough()} of {given.count} messages; none for {given.seconds} s")
        again = not method.redelivered and to_requeue > 0
        rejected = not again and to_reject > 0
        report(
            "message",
            body=body.decode(errors="replace"),
            redelivered=method.redelivered,
            exchange=method.exchange,
            routing_key=method.routing_key,
            properties=plain(properties),
            answer="req" if again else "reject" if rejected else "ack",
        )
        if again:
            to_requeue -= 1
            channel.basic_nack(method.delivery_tag, requeue=True)
            continue
        if rejected:
            to_reject -= 1
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            channel.basic_ack(method.delivery_tag)
        done[body] = done.get(body, 0) + 1
        if enough() >= given.count:
            break
    channel.cancel()
    channel.connection.close()
    succeed(enough())


def persevere(given, work):
    """Does the work; after an error connects and does it again, for as long as patience is given."""
    done, give_up = {}, 0
    while True:
        before = len(done)
        try:
            return work(connect(given), given, done)
        except (pika.exceptions.AMQPError, OSError) as error:
            if len(done) > before or not give_up:
                give_up = time.monotonic() + given.patience
            if time.monotonic() >= give_up:
                raise
            report("broken", text=repr(error))
            time.sleep(0.2)


def connect(given):
    return pika.BlockingConnection(pika.URLParameters(given.uri)).channel()


def main():
    given = arguments()
    try:
        if given.verb in ("publish", "consume"):
            persevere(given, publish if given.verb == "publish" else consume)
        channel = connect(given)
        if given.verb == "declare":
            declare(channel, given)
        elif given.verb == "length":
            succeed(channel.queue_declare(given.queue, passive=True).method.message_count)
        elif given.verb == "purge":
            succeed(channel.queue_purge(given.queue).method.message_count)
        else:
            succeed(channel.queue_delete(given.queue).method.message_count)
    except pika.exceptions.AMQPError as error:
        fail(repr(error))


main()
