"""The AMQP side on pika: declares, publishes with confirms, consumes, counts."""

import argparse
import json

import pika
import pika.exceptions

from driver import fail, report, succeed


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
    publish.add_argument("--properties", type=json.loads, default={}, help="BasicProperties as JSON")

    consume = verbs.add_parser("consume", help="consume until COUNT messages are acknowledged")
    consume.add_argument("--queue", required=True)
    consume.add_argument("--count", type=int, default=1)
    consume.add_argument("--prefetch", type=int, default=100)
    consume.add_argument("--requeue", type=int, default=0, help="nack the first so many back, once each")
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


def publish(channel, given):
    channel.confirm_delivery()
    confirmed = 0
    properties = pika.BasicProperties(**{"delivery_mode": 2, **given.properties})
    for number in range(given.count):
        body = f"{given.prefix}-{number}"
        try:
            channel.basic_publish(given.exchange, given.routing_key, body.encode(), properties, mandatory=True)
        except pika.exceptions.UnroutableError:
            report("returned", body=body)
        except pika.exceptions.NackError:
            report("nacked", body=body)
        else:
            confirmed += 1
            report("confirmed", body=body)
    succeed(confirmed)


def plain(properties):
    """The properties that are set, as JSON can say them."""
    return {name: value for name, value in vars(properties).items() if value is not None}


def consume(channel, given):
    channel.basic_qos(prefetch_count=given.prefetch)
    acknowledged, to_requeue = 0, given.requeue
    for method, properties, body in channel.consume(given.queue, inactivity_timeout=given.seconds):
        if method is None:
            fail(f"only {acknowledged} of {given.count} messages; none for {given.seconds} s")
        again = not method.redelivered and to_requeue > 0
        report(
            "message",
            body=body.decode(errors="replace"),
            redelivered=method.redelivered,
            exchange=method.exchange,
            routing_key=method.routing_key,
            properties=plain(properties),
            answer="req" if again else "ack",
        )
        if again:
            to_requeue -= 1
            channel.basic_nack(method.delivery_tag, requeue=True)
            continue
        channel.basic_ack(method.delivery_tag)
        acknowledged += 1
        if acknowledged >= given.count:
            break
    channel.cancel()
    succeed(acknowledged)


def main():
    given = arguments()
    try:
        connection = pika.BlockingConnection(pika.URLParameters(given.uri))
        channel = connection.channel()
        if given.verb == "declare":
            declare(channel, given)
        elif given.verb == "publish":
            publish(channel, given)
        elif given.verb == "consume":
            consume(channel, given)
        elif given.verb == "length":
            succeed(channel.queue_declare(given.queue, passive=True).method.message_count)
        elif given.verb == "purge":
            succeed(channel.queue_purge(given.queue).method.message_count)
        else:
            succeed(channel.queue_delete(given.queue).method.message_count)
    except pika.exceptions.AMQPError as error:
        fail(repr(error))


main()
